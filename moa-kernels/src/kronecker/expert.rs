//! One expert on its tokens: through its delta if entries of it are dropped, else factor
//! by factor.

use super::cpu::Settings;
use super::delta::Factors;
use super::{DropConnect, factored};
use crate::cpu::{BLOCK, Into, Real, Threads, View, dot, gemm, product, vectorise};
use rayon::prelude::*;

/// An expert of a layer.
pub struct One<'a, T> {
    settings: &'a Settings,
    factors: &'a Factors<'a, T>,
    outer: &'a [T],
    number: usize,
    /// `B` `[t, a b]`.
    inner: Vec<T>,
}

/// Gradients of one expert.
pub struct ExpertGrads<T> {
    /// Of its tokens, before weights.
    pub back: Vec<T>,
    /// Of its weights.
    pub dots: Vec<T>,
    /// Of the shared factors: see [`Settings::shared_grad`].
    pub shared: Vec<T>,
    /// Of its own two factors.
    pub inner: (Vec<T>, Vec<T>),
}

impl Settings {
    fn is_factored(&self) -> bool {
        matches!(self.drop, DropConnect::Off)
    }

    /// `A`, if deltas are computed.
    pub fn outer<T: Real>(&self, factors: &Factors<'_, T>) -> Vec<T> {
        if self.is_factored() { Vec::new() } else { factors.outer() }
    }

    /// The gradient of the shared factors, one after the other, from the sum of
    /// [`ExpertGrads::shared`]; that is of `A` where deltas are computed.
    pub fn shared_grad<T: Real>(&self, factors: &Factors<'_, T>, mut sum: Vec<T>) -> Vec<T> {
        let t = self.sizes.t;
        if self.is_factored() {
            sum.resize(2 * t * t, T::zero());
            return sum;
        }
        sum.resize(t * t * t, T::zero());
        let (ds, dv) = factors.outer_grad(&sum);
        [ds, dv].concat()
    }
}

impl<'a, T: Real> One<'a, T> {
    pub fn new(
        settings: &'a Settings,
        factors: &'a Factors<'a, T>,
        outer: &'a [T],
        number: usize,
    ) -> Self {
        Self { settings, factors, outer, number, inner: factors.inner(number) }
    }

    /// `x H`, `[n, out]`, for tokens `[n, in]`.
    pub fn forward(&self, x: &[T]) -> Vec<T> {
        if self.settings.is_factored() {
            return factored::forward(self.factors, &self.inner, x);
        }
        let sizes = &self.settings.sizes;
        let mut h = sizes.delta(self.outer, &self.inner);
        self.settings.drop.mask(self.number, h.len()).apply(&mut h);
        let x = View::new(x, x.len() / sizes.width, sizes.width);
        product(Into::Set, &[(x, View::new(&h, sizes.width, sizes.out))], Threads::All)
    }

    /// The gradients from that of the weighted output, `dy` `[n, out]`.
    pub fn backward(&self, x: Vec<T>, dy: Vec<T>, weights: &[T]) -> ExpertGrads<T> {
        if self.settings.is_factored() {
            let weighted = weigh(x.clone(), weights);
            let grads = factored::backward(self.factors, &self.inner, &weighted, &dy);
            return ExpertGrads {
                dots: dots(&grads.x, &x, self.settings.sizes.width),
                back: grads.x,
                shared: [grads.shared.0, grads.shared.1].concat(),
                inner: self.factors.inner_grad(self.number, &grads.inner),
            };
        }
        let sizes = &self.settings.sizes;
        let (width, out, n) = (sizes.width, sizes.out, weights.len());
        let mut h = sizes.delta(self.outer, &self.inner);
        let mask = self.settings.drop.mask(self.number, h.len());
        mask.apply(&mut h);
        let terms = [(View::new(&dy, n, out), View::new(&h, width, out).t())];
        let back = product(Into::Set, &terms, Threads::All);
        let (dots, dy) = (dots(&back, &x, width), weigh(dy, weights));
        let mut dh = h;
        let terms = [(View::new(&x, n, width).t(), View::new(&dy, n, out))];
        gemm(&mut dh, out, Into::Set, &terms, Threads::All);
        mask.apply(&mut dh);
        let (shared, dinner) = sizes.delta_grad(&dh, self.outer, &self.inner);
        ExpertGrads { back, dots, shared, inner: self.factors.inner_grad(self.number, &dinner) }
    }
}

/// As `(dy H^T) . x = dy . (x H)`, what goes back to a token also gives the gradient of
/// its weight.
fn dots<T: Real>(back: &[T], x: &[T], width: usize) -> Vec<T> {
    let rows = back.par_chunks(width).zip(x.par_chunks(width)).with_min_len(BLOCK);
    rows.map(|(back, x)| vectorise!(dot(back, x))).collect()
}

/// Rows times their weights.
fn weigh<T: Real>(mut rows: Vec<T>, weights: &[T]) -> Vec<T> {
    let width = rows.len() / weights.len();
    rows.par_chunks_mut(width).zip(weights).with_min_len(BLOCK).for_each(|(row, &weight)| {
        vectorise!(row.iter_mut().for_each(|v| *v *= weight));
    });
    rows
}
