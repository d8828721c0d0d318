//! Softmax attention, head by head as batched products.
//!
//! Probabilities of a layer are in memory at once, but only while it is computed: the
//! backward pass makes them again.

use super::{like, node, wide};
use crate::attention::Sizes;
use candle_core::{D, Result, Tensor};

/// See [`crate::attention::attention`].
pub fn attention(qkv: &Tensor, sizes: Sizes) -> Result<Tensor> {
    let (y, kept) = forward(&qkv.detach().contiguous()?, None, sizes)?;
    // The operation takes the memory of its result, which what is kept may share.
    let y = if matches!(kept, Kept::Flash { .. }) { y.copy()? } else { y };
    node("moa-attention", y, &[qkv], move |dy| Ok(vec![Some(kept.backward(dy)?)]))
}

/// What a backward pass needs.
pub(super) enum Kept {
    Heads(Heads),
    Flash { qkv: Tensor, result: Tensor, lse: Tensor, sizes: Sizes },
}

/// The result `[b, queries, d]` of `qkv` `[b, n, 3 d]` plus a bias `[3 d]`.
pub(super) fn forward(qkv: &Tensor, bias: Option<&Tensor>, sizes: Sizes) -> Result<(Tensor, Kept)> {
    if crate::kernels::flash::runs(qkv, sizes)? {
        let qkv = match bias {
            Some(bias) => {
                crate::kernels::activation::forward_bias(&qkv.contiguous()?, &like(bias, qkv)?)?
            }
            None => qkv.contiguous()?,
        };
        let (result, lse) = crate::kernels::flash::forward(&qkv, sizes)?;
        return Ok((result.clone(), Kept::Flash { qkv, result, lse, sizes }));
    }
    let heads = Heads::split(qkv, bias, sizes)?;
    Ok((heads.forward()?, Kept::Heads(heads)))
}

impl Kept {
    /// The gradient of qkv, `[b, n, 3 d]`.
    pub fn backward(&self, dy: &Tensor) -> Result<Tensor> {
        match self {
            Kept::Heads(heads) => heads.backward(dy),
            Kept::Flash { qkv, result, lse, sizes } => {
                crate::kernels::flash::backward(qkv, (result, lse), &dy.contiguous()?, *sizes)
            }
        }
    }
}

/// q, k and v of every head.
pub(super) struct Heads {
    /// `[b, heads, queries, head_dim]`
    q: Tensor,
    /// `[b, heads, n, head_dim]`
    k: Tensor,
    /// `[b, heads, n, head_dim]`
    v: Tensor,
    sizes: Sizes,
}

impl Heads {
    /// From `qkv` `[b, n, 3 d]` plus a bias `[3 d]`.
    fn split(qkv: &Tensor, bias: Option<&Tensor>, sizes: Sizes) -> Result<Self> {
        let Sizes { batch: b, tokens: n, heads: h, head_dim, queries } = sizes;
        let all = split(qkv, bias, sizes)?;
        let part = |i: usize| all.get(i)?.reshape((b, h, n, head_dim));
        let q = part(0)?.narrow(2, 0, queries)?.contiguous()?;
        Ok(Self { q, k: part(1)?, v: part(2)?, sizes })
    }

    fn scale(&self) -> f64 {
        1.0 / (self.sizes.head_dim as f64).sqrt()
    }

    /// Softmax of scaled products, `[b, heads, queries, n]`.
    fn probs(&self) -> Result<Tensor> {
        let scores = (wide(&self.q.matmul(&self.k.t()?)?)? * self.scale())?;
        let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
        scores.broadcast_div(&scores.sum_keepdim(D::Minus1)?)?.to_dtype(self.q.dtype())
    }

    /// `[b, queries, d]`
    fn forward(&self) -> Result<Tensor> {
        if crate::kernels::runs(&self.q) {
            let probs = crate::kernels::attention::probs(&self.q, &self.k, self.scale())?;
            return self.join(&crate::kernels::gemm::product(&probs, &self.v)?);
        }
        self.join(&self.probs()?.matmul(&self.v)?)
    }

    fn backward(&self, dy: &Tensor) -> Result<Tensor> {
        let Sizes { batch: b, tokens: n, heads: h, head_dim, queries } = self.sizes;
        let dy = swap(&dy.reshape((b, queries, h, head_dim))?)?;
        let (dq, dk, dv) = self.head_grads(&dy)?;
        let dq = if queries < n { dq.pad_with_zeros(2, 0, n - queries)? } else { dq };
        if crate::kernels::runs(&dv) {
            return crate::kernels::attention::join(&dq, &dk, &dv, self.sizes);
        }
        let all = Tensor::stack(&[dq, dk, dv], 0)?; // [3, b, h, n, head_dim]
        all.permute((1, 3, 0, 2, 4))?.contiguous()?.reshape((b, n, 3 * h * head_dim))
    }

    /// The gradients of q, k and v from that of every head's result.
    fn head_grads(&self, dy: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        if crate::kernels::runs(dy) {
            let parts = (&self.q, &self.k, &self.v);
            return crate::kernels::attention::backward(parts, dy, self.scale());
        }
        let probs = self.probs()?;
        let dv = probs.t()?.matmul(dy)?;
        let (p, d) = (wide(&probs)?, wide(&dy.matmul(&self.v.t()?)?)?);
        let along = (&p * &d)?.sum_keepdim(D::Minus1)?;
        let dscores = ((p * d.broadcast_sub(&along)?)? * self.scale())?.to_dtype(dy.dtype())?;
        Ok((dscores.matmul(&self.k)?, dscores.t()?.matmul(&self.q)?, dv))
    }

    fn join(&self, heads: &Tensor) -> Result<Tensor> {
        let Sizes { batch: b, heads: h, head_dim, queries, .. } = self.sizes;
        swap(heads)?.reshape((b, queries, h * head_dim))
    }
}

/// `[b, x, y, head_dim]` as `[b, y, x, head_dim]`.
fn swap(t: &Tensor) -> Result<Tensor> {
    if crate::kernels::runs(t) {
        return crate::kernels::attention::swap(t);
    }
    t.transpose(1, 2)?.contiguous()
}

/// `[3, b, heads, n, head_dim]`
fn split(qkv: &Tensor, bias: Option<&Tensor>, sizes: Sizes) -> Result<Tensor> {
    let Sizes { batch: b, tokens: n, heads: h, head_dim, .. } = sizes;
    if crate::kernels::runs(qkv) {
        let bias = bias.map(|b| like(b, qkv)).transpose()?;
        return crate::kernels::attention::split(qkv, bias.as_ref(), sizes);
    }
    let qkv = match bias {
        Some(bias) => qkv.broadcast_add(&like(bias, qkv)?)?,
        None => qkv.clone(),
    };
    qkv.reshape((b, n, 3, h * head_dim))?
        .reshape((b, n, 3, h, head_dim))?
        .permute((2, 0, 3, 1, 4))?
        .contiguous()
}
