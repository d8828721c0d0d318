//! Layer normalisation.

use super::{like, node, rows, sum_rows, wide};
use candle_core::{D, DType, Result, Tensor};

/// See [`crate::layer_norm::layer_norm`].
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    let x_ = x.detach().contiguous()?;
    let (g, b) = (gamma.detach(), beta.detach());
    let y = forward(&x_, &g, &b, eps)?;
    let wants = [x, gamma, beta].map(Tensor::track_op);
    let affine = (gamma.dtype(), beta.dtype());
    node("moa-layer-norm", y, &[x, gamma, beta], move |dy| {
        let mut grads = vec![None; 3];
        if wants[0] {
            grads[0] = Some(input_grad(&x_, &g, dy, eps)?);
        }
        if wants[1] || wants[2] {
            let (dgamma, dbeta) = affine_grads(&x_, dy, eps, affine)?;
            grads[1] = wants[1].then_some(dgamma);
            grads[2] = wants[2].then_some(dbeta);
        }
        Ok(grads)
    })
}

/// Rows minus their mean, divided by their standard deviation; and one over that.
fn normal(x: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    let x = wide(x)?;
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let inverse = ((centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?).recip()?;
    Ok((centred.broadcast_mul(&inverse)?, inverse))
}

pub(super) fn forward(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    if crate::kernels::runs(x) {
        return crate::kernels::layer_norm::forward(x, &like(gamma, x)?, &like(beta, x)?, eps);
    }
    let (normal, _) = normal(x, eps)?;
    let y = normal.broadcast_mul(&like(gamma, &normal)?)?.broadcast_add(&like(beta, &normal)?)?;
    y.to_dtype(x.dtype())
}

pub(super) fn input_grad(x: &Tensor, gamma: &Tensor, dy: &Tensor, eps: f64) -> Result<Tensor> {
    if crate::kernels::runs(x) {
        return crate::kernels::layer_norm::input_grad(x, &like(gamma, x)?, dy, None, eps);
    }
    let (normal, inverse) = normal(x, eps)?;
    let scaled = wide(dy)?.broadcast_mul(&like(gamma, &normal)?)?;
    let along = (&normal * &scaled)?.mean_keepdim(D::Minus1)?;
    let rest = scaled.broadcast_sub(&scaled.mean_keepdim(D::Minus1)?)?;
    let dx = (rest - normal.broadcast_mul(&along)?)?.broadcast_mul(&inverse)?;
    dx.to_dtype(x.dtype())
}

/// `dx` plus the gradient of `x`.
pub(super) fn add_input_grad(
    x: &Tensor,
    gamma: &Tensor,
    dy: &Tensor,
    dx: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    if crate::kernels::runs(x) {
        return crate::kernels::layer_norm::input_grad(x, &like(gamma, x)?, dy, Some(dx), eps);
    }
    dx + input_grad(x, gamma, dy, eps)?
}

fn affine_grads(
    x: &Tensor,
    dy: &Tensor,
    eps: f64,
    (gamma, beta): (DType, DType),
) -> Result<(Tensor, Tensor)> {
    let (normal, _) = normal(x, eps)?;
    let dy = wide(dy)?;
    Ok((sum_rows(&rows(&(normal * &dy)?)?, gamma)?, sum_rows(&rows(&dy)?, beta)?))
}
