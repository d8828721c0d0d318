//! The first half of a block: norm, qkv, attention, its projection and the residual
//! connection.

use super::{Dense, DenseData, Norm};
use crate::attention::{Sizes, cpu};
use crate::cpu::{Read, Real, View, unset};
use crate::residual;
use candle_core::{Result, Tensor};

/// `x + gamma * proj(attention(qkv(norm(x))))`; without `gamma`, of 1.
#[derive(Clone, Debug)]
pub struct Attention {
    /// The way to qkv; `None` if qkv is given to the stretch.
    pub qkv: Option<(Norm, Dense)>,
    /// Number of heads.
    pub heads: usize,
    /// `[d, d]`
    pub proj: Dense,
    /// Factor of the branch, `[d]`.
    pub gamma: Option<Tensor>,
    /// Only the first tokens of the result are wanted, this many.
    pub queries: Option<usize>,
}

impl Attention {
    pub(super) fn check(&self, d: usize) -> Result<()> {
        if let Some((norm, qkv)) = &self.qkv {
            norm.check("attention", d)?;
            qkv.check("attention", d, Some(3 * d))?;
        }
        self.proj.check("attention", d, Some(d))?;
        if self.heads == 0 || !d.is_multiple_of(self.heads) {
            candle_core::bail!("attention: width {d} does not divide into {} heads", self.heads);
        }
        if self.gamma.as_ref().is_some_and(|g| g.dims() != [d]) || self.queries == Some(0) {
            candle_core::bail!("attention: gamma is not [{d}], or no tokens are wanted");
        }
        Ok(())
    }

    /// The sizes for `b` images of `n` tokens.
    pub(crate) fn sizes(&self, [b, n, d]: [usize; 3]) -> Sizes {
        let queries = self.queries.unwrap_or(n).min(n);
        Sizes { batch: b, tokens: n, queries, heads: self.heads, head_dim: d / self.heads }
    }

    /// qkv of `x`, where it is not given.
    pub(super) fn project<T: Real>(&self, x: &[T]) -> Result<Option<Vec<T>>> {
        let Some((norm, linear)) = &self.qkv else { return Ok(None) };
        let (norm, linear) = (norm.read::<T>()?, linear.read::<T>()?);
        let mut qkv = unset(x.len() * 3);
        super::norm_linear::forward(&norm, &linear, x, &mut qkv);
        Ok(Some(qkv))
    }

    pub(super) fn forward<T: Real>(&self, x: &[T], qkv: &[T], sizes: Sizes) -> Result<Vec<T>> {
        let (proj, gamma) = (self.proj.read::<T>()?, Read::optional(self.gamma.as_ref())?);
        let first = sizes.first_rows(x);
        let mut y = unset(first.len());
        let mixed = cpu::forward(qkv, sizes);
        proj.branch(&first, View::all(&mixed, proj.out), gamma.as_deref(), &mut y);
        Ok(y)
    }

    /// Turns the gradient of the result into that of `x`; returns that of qkv if it was
    /// given.
    pub(super) fn backward<T: Real>(
        &self,
        x: &[T],
        qkv: &[T],
        dx: &mut Vec<T>,
        sizes: Sizes,
    ) -> Result<Option<Vec<T>>> {
        let dqkv = cpu::backward(qkv, &self.branch_grad(&self.proj.read::<T>()?, dx)?, sizes);
        sizes.spread_rows(dx);
        let Some((norm, linear)) = &self.qkv else { return Ok(Some(dqkv)) };
        let (norm, linear) = (norm.read::<T>()?, linear.read::<T>()?);
        super::norm_linear::backward(&norm, &linear, x, &dqkv, dx);
        Ok(None)
    }

    fn branch_grad<T: Real>(&self, proj: &DenseData<'_, T>, dy: &[T]) -> Result<Vec<T>> {
        Ok(match Read::optional(self.gamma.as_ref())? {
            Some(gamma) => proj.backward(View::all(&residual::scaled(dy, &gamma), proj.out)),
            None => proj.backward(View::all(dy, proj.out)),
        })
    }
}
