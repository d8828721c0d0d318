//! The gradients of a LoRA layer but that of its input: products with a side of few ranks,
//! which take as long as reading tokens does. So the tokens and the gradients of their outputs
//! are read once, some of them at a time, for all of these products.

use super::cpu::{Banks, Sizes};
use crate::cpu::{Into, Real, Threads, View, dot, gemm, product};
use crate::routed::Layer;
use rayon::prelude::*;

/// Tokens that are read at a time, and stay in a cache. Like [`LANES`] it decides the order of
/// additions, and so the bits.
const TOKENS: usize = 128;
/// Sums of experts' gradients, each of neighbouring tokens, at most: they are computed in parallel.
const LANES: usize = 16;

/// The gradients.
pub struct Thin<T> {
    /// Of the ranks, `[tokens, R]`.
    pub dh: Vec<T>,
    /// `[tokens, top_k]`
    pub gates: Vec<T>,
    /// `[R, in]`
    pub down: Vec<T>,
    /// `[R, out]`
    pub up: Vec<T>,
}

impl<T: Real> Layer<'_, T, Sizes> {
    /// From the gradient of the output and the ranks `h`.
    pub(super) fn thin(&self, dy: &[T], banks: &Banks<T>, h: &[T]) -> Thin<T> {
        let (total, k, tokens) = (self.total_rank(), self.top_k(), self.tokens());
        let (width, out) = (self.settings.width, self.settings.out);
        let zeros = || [vec![T::zero(); total * width], vec![T::zero(); total * out]];
        let lane = tokens.div_ceil(TOKENS).div_ceil(LANES).max(1) * TOKENS;
        let (mut dh, mut gates) = (vec![T::zero(); tokens * total], vec![T::zero(); tokens * k]);
        let lanes = dh.par_chunks_mut(lane * total).zip(gates.par_chunks_mut(lane * k.max(1)));
        let sums: Vec<_> = lanes
            .enumerate()
            .map(|(i, (dh, gates))| {
                let mut sums = zeros();
                let blocks = dh.chunks_mut(TOKENS * total).zip(gates.chunks_mut(TOKENS * k));
                for (first, (dh, gates)) in (i * lane..).step_by(TOKENS).zip(blocks) {
                    self.block(first, (dy, banks, h), (dh, gates), &mut sums);
                }
                sums
            })
            .collect();
        let mut sums = sums.into_iter();
        let [mut down, mut up] = sums.next().unwrap_or_else(zeros);
        for sum in sums {
            for (to, from) in [&mut down, &mut up].into_iter().zip(sum) {
                to.par_iter_mut()
                    .zip(from)
                    .with_min_len(1 << 12)
                    .for_each(|(to, from)| *to += from);
            }
        }
        Thin { dh, gates, down, up }
    }

    /// Those of some tokens from `first` on; what they add to their experts is added to `sums`.
    fn block(
        &self,
        first: usize,
        (dy, banks, h): (&[T], &Banks<T>, &[T]),
        (dh, gates): (&mut [T], &mut [T]),
        [down, up]: &mut [Vec<T>; 2],
    ) {
        let (&Sizes { width, out, scale, .. }, total) = (self.settings, self.total_rank());
        let k = self.top_k();
        let tokens = gates.len() / k;
        let x = View::new(&self.x[first * width..][..tokens * width], tokens, width);
        let g = View::new(&dy[first * out..][..tokens * out], tokens, out);
        let h = &h[first * total..][..tokens * total];

        // Of the gated ranks, then of gates and of ranks.
        let dhg = product(Into::Set, &[(g, View::new(&banks.up, out, total))], Threads::One);
        for (t, gates) in gates.chunks_mut(k).enumerate() {
            for (gate, (span, _)) in gates.iter_mut().zip(self.chosen(first + t)) {
                let span = t * total + span.start..t * total + span.end;
                *gate = dot(&dhg[span.clone()], &h[span]) * T::from_f64(scale);
            }
        }
        self.gate_rows(first, &dhg, dh);
        let mut hg = vec![T::zero(); h.len()];
        self.gate_rows(first, h, &mut hg);
        let (dh, hg) = (View::new(dh, tokens, total), View::new(&hg, tokens, total));
        gemm(down, width, Into::Add, &[(dh.t(), x)], Threads::One);
        gemm(up, out, Into::Add, &[(hg.t(), g)], Threads::One);
    }
}
