//! GELU, quick GELU, SwiGLU.

use super::{like, node, wide};
use crate::activation::Activation;
use candle_core::{D, Result, Tensor};

/// See [`crate::activation::activate`].
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let h = x.detach().contiguous()?;
    let y = forward(&h, None, activation)?;
    node("moa-activation", y, &[x], move |dy| Ok(vec![Some(backward(&h, None, dy, activation)?)]))
}

/// Of `x + bias`.
pub(super) fn forward(x: &Tensor, bias: Option<&Tensor>, kind: Activation) -> Result<Tensor> {
    if crate::kernels::runs(x) && kind != Activation::SwiGlu {
        let bias = bias.map(|b| like(b, x)).transpose()?;
        return crate::kernels::activation::forward(x, bias.as_ref(), kind);
    }
    let h = shifted(x, bias)?;
    let y = match kind {
        Activation::Gelu => (&h * normal_cdf(&h)?)?,
        Activation::QuickGelu => (&h * sigmoid(&(&h * 1.702)?)?)?,
        Activation::SwiGlu => {
            let (a, b) = halves(&h)?;
            ((&a * sigmoid(&a)?)? * b)?
        }
    };
    y.to_dtype(x.dtype())
}

/// The gradient of `x`, where `dy` is that of the activation of `x + bias`.
pub(super) fn backward(
    x: &Tensor,
    bias: Option<&Tensor>,
    dy: &Tensor,
    kind: Activation,
) -> Result<Tensor> {
    if crate::kernels::runs(x) && kind != Activation::SwiGlu {
        let bias = bias.map(|b| like(b, x)).transpose()?;
        return crate::kernels::activation::backward(x, bias.as_ref(), dy, kind);
    }
    let (h, dy) = (shifted(x, bias)?, wide(dy)?);
    let dx = match kind {
        Activation::Gelu => {
            let density = ((h.sqr()? * -0.5)?.exp()? * 0.398_942_280_401_432_7)?;
            (dy * (normal_cdf(&h)? + (&h * density)?)?)?
        }
        Activation::QuickGelu => {
            let s = sigmoid(&(&h * 1.702)?)?;
            let slope = ((&h * 1.702)? * (&s * (1.0 - &s)?)?)?;
            (dy * (s + slope)?)?
        }
        Activation::SwiGlu => {
            let (a, b) = halves(&h)?;
            let s = sigmoid(&a)?;
            let slope = (&s * ((&a * (1.0 - &s)?)? + 1.0)?)?;
            let (da, db) = ((&dy * &b)? * slope, (dy * a)? * s);
            Tensor::cat(&[da?, db?], D::Minus1)?
        }
    };
    dx.to_dtype(x.dtype())
}

fn shifted(x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let x = wide(x)?;
    match bias {
        Some(bias) => x.broadcast_add(&like(bias, &x)?),
        None => Ok(x),
    }
}

fn normal_cdf(x: &Tensor) -> Result<Tensor> {
    ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

fn halves(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let half = x.dim(D::Minus1)? / 2;
    Ok((
        x.narrow(D::Minus1, 0, half)?.contiguous()?,
        x.narrow(D::Minus1, half, half)?.contiguous()?,
    ))
}
