//! Activations of `elementwise.cu`.

use super::launch::{Launch, empty};
use crate::activation::Activation;
use candle_core::{D, Result, Tensor};

pub(super) const MODULE: (&str, &str) = ("moa-elementwise", super::ptx::ELEMENTWISE);
/// The kernels' number for no activation.
const NONE: usize = 2;

fn number(kind: Activation) -> Result<usize> {
    match kind {
        Activation::Gelu => Ok(0),
        Activation::QuickGelu => Ok(1),
        Activation::SwiGlu => candle_core::bail!("no CUDA kernel for SwiGLU"),
    }
}

/// Of `x + bias`.
pub fn forward(x: &Tensor, bias: Option<&Tensor>, kind: Activation) -> Result<Tensor> {
    let x = x.contiguous()?;
    let y = empty(x.shape(), x.dtype(), &x)?;
    run(&y, &x, bias, number(kind)?)?;
    Ok(y)
}

/// Adds a bias to rows of a new tensor that nothing else reads.
pub fn add_bias(x: Tensor, bias: &Tensor) -> Result<Tensor> {
    run(&x, &x, Some(bias), NONE)?;
    Ok(x)
}

/// Rows plus a bias.
pub fn forward_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let y = empty(x.shape(), x.dtype(), x)?;
    run(&y, x, Some(bias), NONE)?;
    Ok(y)
}

fn run(y: &Tensor, x: &Tensor, bias: Option<&Tensor>, kind: usize) -> Result<()> {
    let (count, cols) = (x.elem_count(), x.dim(D::Minus1)?);
    let launch = Launch::of(x.device(), MODULE, "activation", x.dtype())?;
    let launch = launch.tensor(y)?.tensor(x)?.optional(bias)?;
    launch.long(count).int(cols).int(kind).elements(count, cols)
}

/// The gradient of `x` from that of the activation of `x + bias`.
pub fn backward(
    x: &Tensor,
    bias: Option<&Tensor>,
    dy: &Tensor,
    kind: Activation,
) -> Result<Tensor> {
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let dx = empty(x.shape(), x.dtype(), &x)?;
    let (count, cols) = (x.elem_count(), x.dim(D::Minus1)?);
    let launch = Launch::of(x.device(), MODULE, "activation_grad", x.dtype())?;
    let launch = launch.tensor(&dx)?.tensor(&x)?.optional(bias)?.tensor(&dy)?;
    launch.long(count).int(cols).int(number(kind)?).elements(count, cols)?;
    Ok(dx)
}
