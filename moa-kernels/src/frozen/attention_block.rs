//! Attention, its projection and the residual connection.

use super::Dense;
use crate::attention::{Sizes, cpu};
use crate::cpu::{Read, Real, by_float, data, element, tensor, unset};
use crate::residual;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// `x + gamma * proj(attention(qkv))`; without `gamma`, of 1.
///
/// # Shapes
/// `x` `[b, queries, d]`, `qkv` `[b, n, 3 d]` as in [`crate::attention::attention`],
/// `gamma` `[d]`; the result is `[b, queries, d]`.
///
/// # Errors
/// If the shapes do not fit or the type is neither `f32` nor `f64`.
pub fn attention_block(
    x: &Tensor,
    qkv: &Tensor,
    heads: usize,
    proj: Dense,
    gamma: Option<Tensor>,
) -> Result<Tensor> {
    let (b, queries, d) = x.dims3()?;
    proj.check("attention_block", d, Some(d))?;
    let sizes = Sizes::new(qkv, heads, queries)?;
    let fits = sizes.batch == b && qkv.dim(2)? == 3 * d;
    if !fits || gamma.as_ref().is_some_and(|g| g.dims() != [d]) {
        candle_core::bail!(
            "attention_block: x {:?}, qkv {:?}, {heads} heads and gamma {:?} do not fit",
            x.shape(),
            qkv.shape(),
            gamma.as_ref().map(Tensor::shape)
        );
    }
    x.contiguous()?.apply_op2(&qkv.contiguous()?, AttentionBlock { sizes, proj, gamma })
}

struct AttentionBlock {
    sizes: Sizes,
    proj: Dense,
    gamma: Option<Tensor>,
}

impl AttentionBlock {
    fn forward<T: Real>(&self, x: &[T], qkv: &[T]) -> Result<Vec<T>> {
        let (proj, gamma) = (self.proj.read::<T>()?, Read::optional(self.gamma.as_ref())?);
        let mut y = unset(x.len());
        proj.branch(x, &cpu::forward(qkv, self.sizes), gamma.as_deref(), &mut y);
        Ok(y)
    }

    fn backward<T: Real>(&self, qkv: &[T], dy: &[T]) -> Result<Vec<T>> {
        let (proj, gamma) = (self.proj.read::<T>()?, Read::optional(self.gamma.as_ref())?);
        let scaled = gamma.map(|gamma| residual::scaled(dy, &gamma));
        let dout = proj.backward(scaled.as_deref().unwrap_or(dy));
        Ok(cpu::backward(qkv, &dout, self.sizes))
    }
}

impl CustomOp2 for AttentionBlock {
    fn name(&self) -> &'static str {
        "moa-attention-block"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        qkv: &CpuStorage,
        lq: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), self.name(), T => {
            let y = self.forward::<T>(data(x, lx)?, data(qkv, lq)?)?;
            Ok(element(y, lx.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        qkv: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = x.track_op().then(|| dy.clone());
        if !qkv.track_op() {
            return Ok((dx, None));
        }
        let dy = dy.contiguous()?;
        by_float!(x.dtype(), self.name(), T => {
            let dqkv = self.backward::<T>(&Read::new(qkv)?, &Read::new(&dy)?)?;
            Ok((dx, Some(tensor(dqkv, qkv.shape(), qkv)?)))
        })
    }
}
