//! Multi-head softmax attention on a fused qkv projection.

pub(crate) mod cpu;
mod rows;

use crate::cpu::{Read, Real, by_float, data, element, tensor};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::borrow::Cow;

/// `softmax(q k^T / sqrt(head_dim)) v` for every head (PyTorch
/// `F.scaled_dot_product_attention`), reading q, k and v where the fused
/// projection left them. Probabilities are not kept: the backward pass computes
/// them again.
///
/// # Shapes
/// `qkv` `[b, n, 3 d]`, ordered q, k, v and within each by head (timm, open_clip);
/// the result is `[b, queries, d]`: of the first tokens only, if `queries` is less
/// than `n`.
///
/// # Errors
/// If `3 d` does not divide into `heads`, there are fewer tokens than `queries` or the
/// type is neither `f32` nor `f64`.
pub fn attention(qkv: &Tensor, heads: usize, queries: usize) -> Result<Tensor> {
    let sizes = Sizes::new(qkv, heads, queries)?;
    if crate::by_tensors(qkv) {
        return crate::device::attention::attention(qkv, sizes);
    }
    crate::graph::apply1(&qkv.contiguous()?, Attention { sizes })
}

struct Attention {
    sizes: Sizes,
}

/// The sizes that every loop needs.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub batch: usize,
    pub tokens: usize,
    /// Tokens whose result is wanted, from the first on.
    pub queries: usize,
    pub heads: usize,
    pub head_dim: usize,
}

impl Sizes {
    pub(crate) fn new(qkv: &Tensor, heads: usize, queries: usize) -> Result<Self> {
        let (batch, tokens, width) = qkv.dims3()?;
        if heads == 0 || !width.is_multiple_of(3 * heads) {
            candle_core::bail!("attention: width {width} does not divide into 3 x {heads} heads");
        }
        if queries == 0 || queries > tokens {
            candle_core::bail!("attention: {queries} queries of {tokens} tokens");
        }
        Ok(Self { batch, tokens, queries, heads, head_dim: width / 3 / heads })
    }

    fn dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// The rows `[b, queries, d]` of `x` `[b, n, d]`; a copy only if they are fewer.
    pub(crate) fn first_rows<'a, T: Real>(&self, x: &'a [T]) -> Cow<'a, [T]> {
        if self.queries == self.tokens {
            return Cow::Borrowed(x);
        }
        let images = x.chunks(self.tokens * self.dim());
        Cow::Owned(images.flat_map(|x| &x[..self.queries * self.dim()]).copied().collect())
    }

    /// The way back: rows `[b, queries, d]` become `[b, n, d]`, with zeros in between.
    pub(crate) fn spread_rows<T: Real>(&self, rows: &mut Vec<T>) {
        if self.queries == self.tokens {
            return;
        }
        let (some, all) = (self.queries * self.dim(), self.tokens * self.dim());
        let mut spread = vec![T::zero(); self.batch * all];
        for (to, from) in spread.chunks_mut(all).zip(rows.chunks(some)) {
            to[..some].copy_from_slice(from);
        }
        *rows = spread;
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "moa-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = (self.sizes.batch, self.sizes.queries, self.sizes.dim());
        by_float!(qkv.dtype(), "attention", T => {
            Ok(element(cpu::forward::<T>(data(qkv, layout)?, self.sizes), shape))
        })
    }

    fn bwd(&self, qkv: &Tensor, _out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        by_float!(qkv.dtype(), "attention", T => {
            let dqkv = cpu::backward::<T>(&Read::new(qkv)?, &Read::new(&grad)?, self.sizes);
            Ok(Some(tensor(dqkv, qkv.shape(), qkv)?))
        })
    }
}
