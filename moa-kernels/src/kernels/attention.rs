//! `attention.cu`.

use super::gemm::{padded, product};
use super::launch::{Launch, empty};
use crate::attention::Sizes;
use candle_core::{D, Result, Tensor};

const MODULE: (&str, &str) = ("moa-attention", super::ptx::ATTENTION);

/// `qkv` `[b, n, 3 d]` plus `bias` as `[3, b, heads, n, head_dim]`.
pub fn split(qkv: &Tensor, bias: Option<&Tensor>, sizes: Sizes) -> Result<Tensor> {
    let Sizes { batch: b, tokens: n, heads: h, head_dim: d, .. } = sizes;
    let qkv = qkv.contiguous()?;
    let to = empty((3, b, h, n, d), qkv.dtype(), &qkv)?;
    let launch = Launch::of(qkv.device(), MODULE, "split_heads", qkv.dtype())?;
    let launch = launch.tensor(&to)?.tensor(&qkv)?.optional(bias)?;
    launch.int(b).int(n).int(h).int(d).elements(to.elem_count(), d)?;
    Ok(to)
}

/// q, k and v, each `[b, heads, n, head_dim]`, as `[b, n, 3 d]`.
pub fn join(q: &Tensor, k: &Tensor, v: &Tensor, sizes: Sizes) -> Result<Tensor> {
    let Sizes { batch: b, tokens: n, heads: h, head_dim: d, .. } = sizes;
    let to = empty((b, n, 3 * h * d), q.dtype(), q)?;
    let launch = Launch::of(q.device(), MODULE, "join_heads", q.dtype())?;
    let launch = launch.tensor(&to)?.tensor(q)?.tensor(k)?.tensor(v)?;
    launch.int(b).int(n).int(h).int(d).elements(to.elem_count(), d)?;
    Ok(to)
}

/// `[b, x, y, d]` as `[b, y, x, d]`.
pub fn swap(t: &Tensor) -> Result<Tensor> {
    let ((b, x, y, d), t) = (t.dims4()?, t.contiguous()?);
    let to = empty((b, y, x, d), t.dtype(), &t)?;
    let launch = Launch::of(t.device(), MODULE, "swap_heads", t.dtype())?;
    let launch = launch.tensor(&to)?.tensor(&t)?;
    launch.int(b).int(x).int(y).int(d).elements(to.elem_count(), d)?;
    Ok(to)
}

/// Products of 16 bytes are fast: rows of probabilities are filled up to that.
const ALIGNED: usize = 8;

/// `softmax(scale q k^T)`, `[b, heads, queries, n]`: a view of rows that are filled up.
pub fn probs(q: &Tensor, k: &Tensor, scale: f64) -> Result<Tensor> {
    let n = k.dim(2)?;
    let scores = padded(q, &k.t()?, n.next_multiple_of(ALIGNED))?;
    let stride = scores.dim(D::Minus1)?;
    let rows = scores.elem_count() / stride;
    let launch = Launch::of(scores.device(), MODULE, "softmax", scores.dtype())?;
    let launch = launch.tensor(&scores)?.long(rows).int(n).int(stride);
    launch.float(scale).warps(rows, stride)?;
    scores.narrow(D::Minus1, 0, n)
}

/// The gradients of q, k and v from that of the result, `dy` `[b, heads, queries, head_dim]`.
pub fn backward(
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    dy: &Tensor,
    scale: f64,
) -> Result<(Tensor, Tensor, Tensor)> {
    let probs = probs(q, k, scale)?;
    let dv = product(&probs.t()?, dy)?;
    let (n, stride) = (k.dim(2)?, probs.stride()[2]);
    let grad = padded(dy, &v.t()?, stride)?;
    let rows = grad.elem_count() / stride;
    let launch = Launch::of(grad.device(), MODULE, "softmax_grad", grad.dtype())?;
    let launch = launch.tensor(&grad)?.whole(&probs).long(rows).int(n).int(stride);
    launch.float(scale).warps(rows, stride)?;
    let grad = grad.narrow(D::Minus1, 0, n)?;
    Ok((product(&grad, k)?, product(&grad.t()?, q)?, dv))
}
