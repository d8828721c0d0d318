//! Sizes of a routed layer, as `routed.cuh` has them.

use crate::kernels::launch::{TENSORS, Words};
use candle_core::{Result, Tensor};

/// The most experts that the kernels take.
pub const EXPERTS: usize = 16;

/// The most ranks, with what fills them up. The kernels multiply by them without tensor cores: by
/// arithmetic, 16 take less time than the memory that moves anyway, and 32 half as long again.
pub const RANKS: usize = 32;

/// Ranks and outputs of the router are filled up to a multiple of this.
const ALIGNED: usize = 8;

/// Sizes and settings of one layer; `out` is 0 for a router alone.
#[derive(Default)]
pub struct Sizes {
    pub width: usize,
    pub out: usize,
    /// First rank of each expert, and the sum of all.
    pub firsts: Vec<usize>,
    /// Outputs of the router's projection.
    pub p: usize,
    pub experts: usize,
    pub k: usize,
    pub cosine: bool,
    pub renormalise: bool,
    /// There is a bias, which takes one rank.
    pub biased: bool,
    /// `(key, layer)` of the noise and its standard deviation, if it is drawn.
    pub noise: Option<([u32; 4], u16, f64)>,
    /// There is one expert and no router.
    pub single: bool,
    /// The scale of the experts.
    pub scale: f64,
    /// The most that a cosine router's temperature counts.
    pub limit: f64,
}

impl Sizes {
    pub fn ranks(&self) -> usize {
        let ranks = self.firsts.last().copied().unwrap_or(0);
        (ranks + usize::from(self.biased)).next_multiple_of(ALIGNED)
    }

    /// Columns of `x U^T`.
    pub fn kept(&self) -> usize {
        self.ranks() + self.all()
    }

    pub(super) fn all(&self) -> usize {
        self.p.next_multiple_of(ALIGNED)
    }

    /// Blocks that each have an expert, and one for the rest.
    pub(super) fn by_expert(&self) -> usize {
        if self.cosine { self.experts + 1 } else { 0 }
    }

    /// Numbers of a plane: see `routed_grad.cu`.
    pub(super) fn plane(&self) -> usize {
        (self.experts + 1) * self.all() + 1
    }

    pub(super) fn words(&self) -> Words {
        let flags = [self.cosine, self.renormalise, self.biased, self.noise.is_some(), self.single];
        let flags = flags.iter().rev().fold(0, |bits, &flag| bits << 1 | usize::from(flag));
        let Self { width, out, p, experts, k, .. } = *self;
        Words([width, out, self.ranks(), p, self.all(), experts, k, flags].map(|v| v as u32))
    }

    pub(super) fn noise_words(&self) -> Words {
        let ([low, high, step, tag], layer, std) = self.noise.unwrap_or_default();
        let std = std.to_bits();
        Words([low, high, step, tag, u32::from(layer), 0, std as u32, (std >> 32) as u32])
    }

    pub(super) fn first_ranks(&self) -> impl Iterator<Item = usize> {
        let last = self.firsts.last().copied().unwrap_or(0);
        self.firsts.iter().copied().chain(std::iter::repeat(last)).take(TENSORS)
    }

    /// The gradient's part for `up` of expert `e` of what [`super::finish`] returns.
    pub(super) fn up(&self, all: &Tensor, e: usize) -> Result<Tensor> {
        let (first, rank) = (self.firsts[e], self.firsts[e + 1] - self.firsts[e]);
        all.narrow(0, first * self.out, rank * self.out)?.reshape((self.out, rank))
    }
}
