//! `router.cu`.

use super::launch::{Launch, empty};
use candle_core::{DType, Result, Tensor};

const MODULE: (&str, &str) = ("moa-router", super::ptx::ROUTER);

/// Scores and lengths of `z` `[tokens, p]` from unit vectors `[experts, p]` and a scale.
pub fn forward(z: &Tensor, units: &Tensor, scale: &Tensor) -> Result<(Tensor, Tensor)> {
    let ((tokens, p), experts) = (z.dims2()?, units.dim(0)?);
    let scores = empty((tokens, experts), DType::F32, z)?;
    let lengths = empty(tokens, DType::F32, z)?;
    let launch = Launch::of(z.device(), MODULE, "cosine", z.dtype())?;
    let launch = launch.tensor(&scores)?.tensor(&lengths)?.tensor(z)?;
    let launch = launch.tensor(units)?.tensor(scale)?.long(tokens).int(p).int(experts);
    launch.warps(tokens, p)?;
    Ok((scores, lengths))
}

/// The gradient of `z`, and `scale grad / length` with the type of `z`.
pub fn backward(
    z: &Tensor,
    units: &Tensor,
    scale: &Tensor,
    lengths: &Tensor,
    grad: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let ((tokens, p), experts) = (z.dims2()?, units.dim(0)?);
    let dz = empty((tokens, p), z.dtype(), z)?;
    let along = empty((tokens, experts), z.dtype(), z)?;
    let launch = Launch::of(z.device(), MODULE, "cosine_grad", z.dtype())?;
    let launch = launch.tensor(&dz)?.tensor(&along)?.tensor(z)?.tensor(units)?.tensor(scale)?;
    let launch = launch.tensor(lengths)?.tensor(&grad.contiguous()?)?;
    launch.long(tokens).int(p).int(experts).warps(tokens, p)?;
    Ok((dz, along))
}
