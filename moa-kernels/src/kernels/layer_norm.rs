//! `layer_norm.cu`.

use super::launch::{Launch, empty};
use candle_core::{D, Result, Tensor};

const MODULE: (&str, &str) = ("moa-layer-norm", super::ptx::LAYER_NORM);

pub fn forward(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    let x = x.contiguous()?;
    let y = empty(x.shape(), x.dtype(), &x)?;
    let d = x.dim(D::Minus1)?;
    let rows = x.elem_count() / d;
    let launch = Launch::of(x.device(), MODULE, "layer_norm", x.dtype())?;
    let launch = launch.tensor(&y)?.tensor(&x)?.tensor(gamma)?.tensor(beta)?;
    launch.long(rows).int(d).float(eps).warps(rows, d)?;
    Ok(y)
}

/// The gradient of `x`, plus `before`.
pub fn input_grad(
    x: &Tensor,
    gamma: &Tensor,
    dy: &Tensor,
    before: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let before = before.map(Tensor::contiguous).transpose()?;
    let dx = empty(x.shape(), x.dtype(), &x)?;
    let d = x.dim(D::Minus1)?;
    let rows = x.elem_count() / d;
    let launch = Launch::of(x.device(), MODULE, "layer_norm_grad", x.dtype())?;
    let launch = launch.tensor(&dx)?.tensor(&x)?.tensor(gamma)?.tensor(&dy)?;
    launch.optional(before.as_ref())?.long(rows).int(d).float(eps).warps(rows, d)?;
    Ok(dx)
}
