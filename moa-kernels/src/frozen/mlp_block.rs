//! The second half of a block: norm, MLP and the residual connection.

use super::{Dense, Norm, ROWS};
use crate::activation::Activation;
use crate::cpu::{Read, Real, by_float, data, element, tensor, unset};
use crate::residual;
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};
use std::sync::Mutex;

/// The parts of [`mlp_block`].
#[derive(Clone, Debug)]
pub struct MlpBlock {
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
    /// of keeping it: a fifth of the block's work for four fifths of its memory.
    pub recompute: bool,
}

/// `x + gamma * fc2(activation(fc1(norm(x))))`; without `gamma`, of 1.
///
/// # Shapes
/// `x` `[..., d]`; the result has the same shape.
///
/// # Errors
/// If the shapes do not fit or the type is neither `f32` nor `f64`.
pub fn mlp_block(x: &Tensor, parts: MlpBlock) -> Result<Tensor> {
    let width = x.dims().last().copied().unwrap_or(0);
    parts.norm.check("mlp_block", width)?;
    let hidden = parts.fc1.check("mlp_block", width, None)?;
    parts.fc2.check("mlp_block", parts.activation.out(hidden), Some(width))?;
    if parts.gamma.as_ref().is_some_and(|g| g.dims() != [width]) {
        candle_core::bail!("mlp_block: gamma is not [{width}]");
    }
    let keeps = x.track_op() && !parts.recompute;
    x.contiguous()?.apply_op1(Op { parts, width, hidden, keeps, kept: Mutex::new(None) })
}

struct Op {
    parts: MlpBlock,
    width: usize,
    hidden: usize,
    keeps: bool,
    /// What went into the activation, `[tokens, hidden]`, until the backward pass.
    kept: Mutex<Option<Tensor>>,
}

impl Op {
    fn forward<T: Real>(&self, x: &[T]) -> Result<Vec<T>> {
        let parts = &self.parts;
        let (norm, gamma) = (parts.norm.read::<T>()?, Read::optional(parts.gamma.as_ref())?);
        let (fc1, fc2) = (parts.fc1.read::<T>()?, parts.fc2.read::<T>()?);
        let tokens = x.len() / self.width;
        let rows = if self.keeps { tokens } else { tokens.min(ROWS) };
        let mut h = unset(rows * self.hidden);
        let mut g = unset(tokens.min(ROWS) * parts.activation.out(self.hidden));
        let mut y = unset(x.len());
        let chunks = x.chunks(ROWS * self.width).zip(y.chunks_mut(ROWS * self.width));
        for (i, (x, y)) in chunks.enumerate() {
            let rows = x.len() / self.width;
            let start = if self.keeps { i * ROWS } else { 0 };
            let h = &mut h[start * self.hidden..(start + rows) * self.hidden];
            let g = &mut g[..rows * parts.activation.out(self.hidden)];
            fc1.forward(&norm.forward(x), h);
            parts.activation.forward(h, g, self.hidden);
            fc2.branch(x, g, gamma.as_deref(), y);
        }
        if self.keeps {
            let kept = Tensor::from_vec(h, (tokens, self.hidden), &Device::Cpu)?;
            *self.kept.lock().unwrap_or_else(|e| e.into_inner()) = Some(kept);
        }
        Ok(y)
    }

    fn backward<T: Real>(&self, x: &[T], dy: &[T]) -> Result<Vec<T>> {
        let parts = &self.parts;
        let (norm, gamma) = (parts.norm.read::<T>()?, Read::optional(parts.gamma.as_ref())?);
        let (fc1, fc2) = (parts.fc1.read::<T>()?, parts.fc2.read::<T>()?);
        // Gone after the first backward pass; computed again in any further one.
        let kept = self.kept.lock().unwrap_or_else(|e| e.into_inner()).take();
        let kept = Read::<T>::optional(kept.as_ref())?;
        let rows = (x.len() / self.width).min(ROWS);
        let mut again = unset(if kept.is_some() { 0 } else { rows * self.hidden });
        let mut dh = unset(rows * self.hidden);
        let mut dx = dy.to_vec();
        let chunks = dx.chunks_mut(ROWS * self.width).zip(x.chunks(ROWS * self.width));
        for (i, (dx, x)) in chunks.enumerate() {
            let size = x.len() / self.width * self.hidden;
            let h = match &kept {
                Some(kept) => &kept[i * ROWS * self.hidden..][..size],
                None => {
                    fc1.forward(&norm.forward(x), &mut again[..size]);
                    &again[..size]
                }
            };
            let dg = match &gamma {
                Some(gamma) => fc2.backward(&residual::scaled(dx, gamma)),
                None => fc2.backward(dx),
            };
            let dh = &mut dh[..size];
            parts.activation.backward(h, &dg, dh, self.hidden);
            norm.backward(x, &fc1.backward(dh), dx);
        }
        Ok(dx)
    }
}

impl CustomOp1 for Op {
    fn name(&self) -> &'static str {
        "moa-mlp-block"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), self.name(), T => {
            Ok(element(self.forward::<T>(data(x, layout)?)?, layout.shape().clone()))
        })
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        by_float!(x.dtype(), self.name(), T => {
            let dx = self.backward::<T>(&Read::new(x)?, &Read::new(&dy)?)?;
            Ok(Some(tensor(dx, x.shape(), x)?))
        })
    }
}
