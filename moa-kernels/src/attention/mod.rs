//! Multi-head softmax attention on a fused qkv projection.

pub(crate) mod cpu;

use crate::cpu::{Read, by_float, data, element, tensor};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// `softmax(q k^T / sqrt(head_dim)) v` for every head (PyTorch
/// `F.scaled_dot_product_attention`), reading q, k and v where the fused
/// projection left them. Probabilities are not kept: the backward pass computes
/// them again.
///
/// # Shapes
/// `qkv` `[b, n, 3 d]`, ordered q, k, v and within each by head (timm, open_clip);
/// the result is `[b, n, d]`.
///
/// # Errors
/// If `3 d` does not divide into `heads` or the type is neither `f32` nor `f64`.
pub fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (_, _, width) = qkv.dims3()?;
    if heads == 0 || !width.is_multiple_of(3 * heads) {
        candle_core::bail!("attention: width {width} does not divide into 3 x {heads} heads");
    }
    qkv.contiguous()?.apply_op1(Attention { heads })
}

struct Attention {
    heads: usize,
}

impl Attention {
    fn sizes(&self, dims: &[usize]) -> Sizes {
        let dim = dims[2] / 3;
        Sizes { batch: dims[0], tokens: dims[1], heads: self.heads, head_dim: dim / self.heads }
    }
}

/// The sizes that every loop needs.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub batch: usize,
    pub tokens: usize,
    pub heads: usize,
    pub head_dim: usize,
}

impl Sizes {
    fn dim(&self) -> usize {
        self.heads * self.head_dim
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "moa-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sizes = self.sizes(layout.dims());
        let shape = (sizes.batch, sizes.tokens, sizes.dim());
        by_float!(qkv.dtype(), "attention", T => {
            Ok(element(cpu::forward::<T>(data(qkv, layout)?, sizes), shape))
        })
    }

    fn bwd(&self, qkv: &Tensor, _out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (sizes, grad) = (self.sizes(qkv.dims()), grad.contiguous()?);
        by_float!(qkv.dtype(), "attention", T => {
            let dqkv = cpu::backward::<T>(&Read::new(qkv)?, &Read::new(&grad)?, sizes);
            Ok(Some(tensor(dqkv, qkv.shape(), qkv)?))
        })
    }
}
