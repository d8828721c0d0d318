//! The second half of a block: norm, MLP and the residual connection.

use super::{Dense, Norm, ROWS};
use crate::activation::Activation;
use crate::cpu::{Read, Real, View, apart, unset};
use crate::residual;
use candle_core::{Result, Tensor};

/// `x + gamma * fc2(activation(fc1(norm(x))))`; without `gamma`, of 1.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// In front.
    pub norm: Norm,
    /// `[hidden, d]`
    pub fc1: Dense,
    /// Between the two.
    pub activation: Activation,
    /// `[d, hidden]`, with SwiGLU `[d, hidden / 2]`.
    pub fc2: Dense,
    /// Factor of the branch, `[d]`.
    pub gamma: Option<Tensor>,
    /// Compute what goes into the activation once more in the backward pass instead
    /// of keeping it: a fifth of the half's work for four fifths of its memory.
    pub recompute: bool,
}

impl Mlp {
    pub(super) fn check(&self, width: usize) -> Result<()> {
        self.norm.check("mlp", width)?;
        let hidden = self.fc1.check("mlp", width, None)?;
        self.fc2.check("mlp", self.activation.out(hidden), Some(width))?;
        if self.gamma.as_ref().is_some_and(|g| g.dims() != [width]) {
            candle_core::bail!("mlp: gamma is not [{width}]");
        }
        Ok(())
    }

    /// The result, and what went into the activation if it is to be kept.
    pub(super) fn forward<T: Real>(
        &self,
        x: &[T],
        keeps: bool,
    ) -> Result<(Vec<T>, Option<Vec<T>>)> {
        let keeps = keeps && !self.recompute;
        let (norm, gamma) = (self.norm.read::<T>()?, Read::optional(self.gamma.as_ref())?);
        let (fc1, fc2) = (self.fc1.read::<T>()?, self.fc2.read::<T>()?);
        let (width, hidden, inner) = (fc2.out, fc1.out, self.activation.out(fc1.out));
        let tokens = x.len() / width;
        let mut h = unset(if keeps { tokens } else { tokens.min(ROWS) } * hidden);
        let apart = apart(inner);
        let mut g = unset(tokens.min(ROWS) * apart);
        let mut y = unset(x.len());
        let chunks = x.chunks(ROWS * width).zip(y.chunks_mut(ROWS * width));
        for (i, (x, y)) in chunks.enumerate() {
            let rows = x.len() / width;
            let start = if keeps { i * ROWS } else { 0 };
            let h = &mut h[start * hidden..(start + rows) * hidden];
            let g = &mut g[..rows * apart];
            fc1.forward(View::all(&norm.forward(x), width), h);
            self.activation.forward(h, hidden, g, apart);
            let g = View::strided(g, rows, inner, apart);
            fc2.branch(x, g, gamma.as_deref(), y);
        }
        Ok((y, keeps.then_some(h)))
    }

    /// Turns the gradient of the result into that of `x`.
    pub(super) fn backward<T: Real>(
        &self,
        x: &[T],
        kept: Option<&[T]>,
        dx: &mut [T],
    ) -> Result<()> {
        let (norm, gamma) = (self.norm.read::<T>()?, Read::optional(self.gamma.as_ref())?);
        let (fc1, fc2) = (self.fc1.read::<T>()?, self.fc2.read::<T>()?);
        let (width, hidden) = (fc2.out, fc1.out);
        let rows = (x.len() / width).min(ROWS);
        let mut again = unset(if kept.is_some() { 0 } else { rows * hidden });
        let apart = apart(hidden);
        let mut dh = unset(rows * apart);
        let chunks = dx.chunks_mut(ROWS * width).zip(x.chunks(ROWS * width));
        for (i, (dx, x)) in chunks.enumerate() {
            let rows = x.len() / width;
            let size = rows * hidden;
            let h = match kept {
                Some(kept) => &kept[i * ROWS * hidden..][..size],
                None => {
                    fc1.forward(View::all(&norm.forward(x), width), &mut again[..size]);
                    &again[..size]
                }
            };
            let dg = match &gamma {
                Some(gamma) => fc2.backward(View::all(&residual::scaled(dx, gamma), width)),
                None => fc2.backward(View::all(dx, width)),
            };
            let dh = &mut dh[..rows * apart];
            self.activation.backward(h, hidden, &dg, dh, apart);
            norm.backward(x, &fc1.backward(View::strided(dh, rows, hidden, apart)), dx);
        }
        Ok(())
    }
}
