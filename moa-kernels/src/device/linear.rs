//! `x W^T + b`.

use super::{add_bias, like, node, rows, sum_rows};
use candle_core::{Result, Tensor};

/// See [`crate::linear::linear`].
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (flat, w) = (rows(&x.detach().contiguous()?)?, like(weight, x)?);
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = w.dim(0)?;
    }
    let y = forward(&flat, &w, bias)?.reshape(shape)?;
    let wants_x = x.track_op().then(|| x.shape().clone());
    let wants_w = weight.track_op().then(|| (flat, weight.dtype()));
    let wants_b = bias.filter(|b| b.track_op()).map(Tensor::dtype);
    let count = 2 + usize::from(bias.is_some());
    let args: Vec<_> = [x, weight].into_iter().chain(bias).collect();
    node("moa-linear", y, &args, move |dy| {
        let dy = rows(dy)?;
        let mut grads = vec![None; count];
        if let Some(shape) = &wants_x {
            grads[0] = Some(dy.matmul(&w)?.reshape(shape)?);
        }
        if let Some((x, dtype)) = &wants_w {
            grads[1] = Some(dy.t()?.matmul(x)?.to_dtype(*dtype)?);
        }
        if let Some(dtype) = wants_b {
            grads[2] = Some(sum_rows(&dy, dtype)?);
        }
        Ok(grads)
    })
}

/// `x` `[rows, in]`, `w` `[out, in]` of the same type; the bias may have another.
pub(super) fn forward(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let y = x.matmul(&w.t()?)?;
    match bias {
        Some(bias) => add_bias(y, bias),
        None => Ok(y),
    }
}
