//! Residual connections of `elementwise.cu`.

use super::activation::MODULE;
use super::launch::{Launch, empty};
use candle_core::{D, Result, Tensor};

/// `x + gamma (y + bias)`
pub fn forward(
    x: &Tensor,
    y: &Tensor,
    bias: Option<&Tensor>,
    gamma: Option<&Tensor>,
) -> Result<Tensor> {
    let (x, y) = (x.contiguous()?, y.contiguous()?);
    let sum = empty(x.shape(), x.dtype(), &x)?;
    let (count, cols) = (x.elem_count(), x.dim(D::Minus1)?);
    let launch = Launch::of(x.device(), MODULE, "residual", x.dtype())?;
    let launch = launch.tensor(&sum)?.tensor(&x)?.tensor(&y)?.optional(bias)?.optional(gamma)?;
    launch.long(count).int(cols).elements(count, cols)?;
    Ok(sum)
}
