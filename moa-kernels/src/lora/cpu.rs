//! Masked-dense over the concatenated ranks: all experts' `down` form one thin
//! matrix, the ranks of experts that a token did not choose are set to zero, and
//! all `up` form one thin matrix again. Cheaper than sorting tokens while the
//! total rank is small against `in`.

use super::thin::Thin;
use crate::cpu::{BLOCK, Into, Real, Threads, View, column_sums, product};
use crate::routed::{Experts, Grads, Layer, WantsX};
use candle_core::{Device, Tensor};
use rayon::prelude::*;
use std::ops::Range;

/// The sizes of one layer.
pub struct Sizes {
    pub width: usize,
    pub out: usize,
    pub ranks: Vec<usize>,
    /// A trainable bias stands at the end of theta.
    pub bias: bool,
    pub scale: f64,
}

impl Experts for Sizes {
    const NAME: &'static str = "moa-routed-lora";

    fn out(&self) -> usize {
        self.out
    }

    fn forward<T: Real>(layer: &Layer<'_, T, Self>, base_bias: Option<&[T]>) -> Vec<T> {
        layer.forward(base_bias)
    }

    fn backward<T: Real>(layer: &Layer<'_, T, Self>, dy: &[T], wants_x: WantsX) -> Grads<T> {
        layer.backward(dy, wants_x)
    }
}

/// All experts side by side.
pub struct Banks<T> {
    /// `[R, in]`
    pub down: Vec<T>,
    /// `[out, R]`
    pub up: Vec<T>,
}

impl<T: Real> Layer<'_, T, Sizes> {
    pub(super) fn tokens(&self) -> usize {
        self.x.len() / self.settings.width
    }

    pub(super) fn total_rank(&self) -> usize {
        self.settings.ranks.iter().sum()
    }

    /// First rank column and number of rank columns of an expert.
    fn columns(&self, expert: usize) -> (usize, usize) {
        (self.settings.ranks[..expert].iter().sum(), self.settings.ranks[expert])
    }

    fn banks(&self) -> Banks<T> {
        let (Sizes { width, out, .. }, total) = (self.settings, self.total_rank());
        let mut banks = Banks { down: Vec::new(), up: vec![T::zero(); out * total] };
        let mut at = 0;
        for e in 0..self.settings.ranks.len() {
            let (first, rank) = self.columns(e);
            let (down, rest) = self.theta[at..].split_at(rank * width);
            banks.down.extend_from_slice(down);
            for (row, up) in banks.up.chunks_mut(total).zip(rest.chunks(rank)) {
                row[first..first + rank].copy_from_slice(up);
            }
            at += rank * (width + out);
        }
        banks
    }

    /// `x down^T` for all experts, `[tokens, R]`: computed once, by the router if it can.
    fn ranks(&self, banks: &Banks<T>) -> Vec<T> {
        self.shared.ranks(&banks.down).unwrap_or_else(|| {
            let h = self.shrink(banks);
            let keep = |values: &[T]| Tensor::from_slice(values, values.len(), &Device::Cpu);
            if let (Ok(downs), Ok(h)) = (keep(&banks.down), keep(&h)) {
                self.shared.keep_ranks(downs, h);
            }
            h
        })
    }

    fn shrink(&self, banks: &Banks<T>) -> Vec<T> {
        let width = self.settings.width;
        let down = View::new(&banks.down, self.total_rank(), width);
        let x = View::new(self.x, self.tokens(), width);
        product(Into::Set, &[(x, down.t())], Threads::All)
    }

    /// Multiplies each rank column by the gate of its expert, zero where the
    /// expert was not chosen.
    fn gate(&self, h: &[T]) -> Vec<T> {
        let total = self.total_rank();
        let mut hg = vec![T::zero(); h.len()];
        let blocks = hg.par_chunks_mut(BLOCK * total).zip(h.par_chunks(BLOCK * total)).enumerate();
        blocks.for_each(|(block, (hg, h))| self.gate_rows(block * BLOCK, h, hg));
        hg
    }

    /// The same for the tokens from `first` on, into zeros.
    pub(super) fn gate_rows(&self, first: usize, h: &[T], to: &mut [T]) {
        let (total, scale) = (self.total_rank(), T::from_f64(self.settings.scale));
        for (t, (to, h)) in (first..).zip(to.chunks_mut(total).zip(h.chunks(total))) {
            for (span, gate) in self.chosen(t) {
                let gate = gate * scale;
                to[span.clone()].iter_mut().zip(&h[span]).for_each(|(to, &h)| *to = gate * h);
            }
        }
    }

    /// The rank columns of the experts that a token chose, and their gates.
    pub(super) fn chosen(&self, token: usize) -> impl Iterator<Item = (Range<usize>, T)> {
        let k = self.top_k();
        (token * k..(token + 1) * k).map(|choice| {
            let (first, rank) = self.columns(self.indices[choice] as usize);
            (first..first + rank, self.gates[choice])
        })
    }

    pub(super) fn top_k(&self) -> usize {
        self.indices.len() / self.tokens().max(1)
    }

    fn forward(&self, base_bias: Option<&[T]>) -> Vec<T> {
        let Sizes { width, out, bias, .. } = self.settings;
        let (tokens, total) = (self.tokens(), self.total_rank());
        let mut constant = base_bias.map_or(vec![T::zero(); *out], <[T]>::to_vec);
        if *bias {
            let own = &self.theta[self.theta.len() - out..];
            constant.iter_mut().zip(own).for_each(|(c, &b)| *c += b);
        }
        let banks = self.banks();
        let hg = self.gate(&self.ranks(&banks));
        let up = self.weight.order_of(&banks.up, total);
        let terms = [
            (View::new(self.x, tokens, *width), self.weight.transposed()),
            (View::new(&hg, tokens, total), self.weight.like(&up, total).transposed()),
        ];
        product(Into::Rows(&constant), &terms, Threads::All)
    }

    fn backward(&self, dy: &[T], wants_x: WantsX) -> Grads<T> {
        let (&Sizes { width, out, .. }, total) = (self.settings, self.total_rank());
        let tokens = self.tokens();
        let banks = self.banks();
        let h = self.ranks(&banks);
        let Thin { dh, gates, banks: sums } = self.thin(dy, &banks, &h);
        let dx = (wants_x == WantsX::Gradient).then(|| {
            let g = View::new(dy, tokens, out);
            let (dh, down) = (View::new(&dh, tokens, total), View::new(&banks.down, total, width));
            let weight = self.weight.rows();
            let terms = [(g, View::new(&weight, out, width)), (dh, down)];
            product(Into::Set, &terms, Threads::All)
        });

        let (ddown, dup) = sums.split_at(total * width);
        let mut theta = Vec::with_capacity(self.theta.len());
        for e in 0..self.settings.ranks.len() {
            let (first, rank) = self.columns(e);
            theta.extend_from_slice(&ddown[first * width..(first + rank) * width]);
            let ranks = &dup[first * out..(first + rank) * out];
            theta.extend((0..out * rank).map(|i| ranks[i % rank * out + i / rank]));
        }
        if self.settings.bias {
            theta.extend(column_sums(dy, out));
        }
        let terms = match wants_x {
            WantsX::Terms => vec![(dh, banks.down)],
            _ => Vec::new(),
        };
        Grads { x: dx, terms, gates, theta }
    }
}
