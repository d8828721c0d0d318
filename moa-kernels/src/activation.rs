//! Activations of transformer MLPs.

use crate::cpu::{Real, by_float, data, element, tensor, vectorise, with_data};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Elements per task.
const CHUNK: usize = 8192;

/// Gaussian error linear unit, `x Phi(x)` (PyTorch `F.gelu`).
///
/// # Errors
/// If the type is neither `f32` nor `f64`.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Pointwise::Gelu)
}

/// `x sigmoid(1.702 x)`, the activation of OpenAI's CLIP weights.
///
/// # Errors
/// If the type is neither `f32` nor `f64`.
pub fn quick_gelu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Pointwise::QuickGelu)
}

/// `silu(a) * b` where `x` is `a` and `b` side by side (transformers
/// `Dinov2SwiGLUFFN`).
///
/// # Shapes
/// `x` `[..., 2 h]`; the result is `[..., h]`.
///
/// # Errors
/// If the last dimension is odd or the type is neither `f32` nor `f64`.
pub fn swiglu(x: &Tensor) -> Result<Tensor> {
    if x.dims().last().is_none_or(|d| d % 2 == 1) {
        candle_core::bail!("swiglu: the last dimension of {:?} is not even", x.shape());
    }
    x.contiguous()?.apply_op1(SwiGlu)
}

enum Pointwise {
    Gelu,
    QuickGelu,
}

impl Pointwise {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        match self {
            Pointwise::Gelu => x * normal_cdf(x),
            Pointwise::QuickGelu => x * sigmoid(T::from_f64(1.702) * x),
        }
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        match self {
            Pointwise::Gelu => {
                let density = (x * x * T::from_f64(-0.5)).exponential();
                normal_cdf(x) + x * density * T::from_f64(0.398_942_280_401_432_7)
            }
            Pointwise::QuickGelu => {
                let s = sigmoid(T::from_f64(1.702) * x);
                s + T::from_f64(1.702) * x * s * (T::one() - s)
            }
        }
    }
}

#[inline(always)]
fn normal_cdf<T: Real>(x: T) -> T {
    let half = T::from_f64(0.5);
    half + half * (x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2)).error_function()
}

#[inline(always)]
fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exponential())
}

impl CustomOp1 for Pointwise {
    fn name(&self) -> &'static str {
        match self {
            Pointwise::Gelu => "moa-gelu",
            Pointwise::QuickGelu => "moa-quick-gelu",
        }
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), self.name(), T => {
            let x = data::<T>(x, layout)?;
            let mut y = vec![0.0; x.len()];
            y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| match self {
                // Matched outside the loop, so that each loop becomes vector code.
                Pointwise::Gelu => map(y, x, |x| Pointwise::Gelu.value(x)),
                Pointwise::QuickGelu => map(y, x, |x| Pointwise::QuickGelu.value(x)),
            });
            Ok(element(y, layout.shape().clone()))
        })
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        by_float!(x.dtype(), self.name(), T => with_data::<T, _>(x, |x_| with_data::<T, _>(dy, |dy| {
            let mut dx = dy.to_vec();
            dx.par_chunks_mut(CHUNK).zip(x_.par_chunks(CHUNK)).for_each(|(dx, x)| match self {
                Pointwise::Gelu => scale(dx, x, |x| Pointwise::Gelu.slope(x)),
                Pointwise::QuickGelu => scale(dx, x, |x| Pointwise::QuickGelu.slope(x)),
            });
            Ok(Some(tensor(dx, x.shape(), x)?))
        })))
    }
}

#[inline(always)]
fn map<T: Real>(y: &mut [T], x: &[T], f: impl Fn(T) -> T) {
    vectorise!({
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f(x);
        }
    });
}

#[inline(always)]
fn scale<T: Real>(y: &mut [T], x: &[T], f: impl Fn(T) -> T) {
    vectorise!({
        for (y, &x) in y.iter_mut().zip(x) {
            *y *= f(x);
        }
    });
}

struct SwiGlu;

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "moa-swiglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut dims = layout.dims().to_vec();
        let half = dims[dims.len() - 1] / 2;
        *dims.last_mut().unwrap_or(&mut 0) = half;
        by_float!(x.dtype(), "swiglu", T => {
            let x = data::<T>(x, layout)?;
            let mut y = vec![0.0; x.len() / 2];
            y.par_chunks_mut(half.max(1)).zip(x.par_chunks(2 * half.max(1))).for_each(|(y, x)| {
                let (a, b) = x.split_at(half);
                vectorise!({
                    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                        *y = a * sigmoid(a) * b;
                    }
                });
            });
            Ok(element(y, dims))
        })
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let half = y.dims().last().copied().unwrap_or(0);
        by_float!(x.dtype(), "swiglu", T => with_data::<T, _>(x, |x_| with_data::<T, _>(dy, |dy| {
            let mut dx = x_.to_vec();
            dx.par_chunks_mut(2 * half.max(1)).zip(dy.par_chunks(half.max(1))).for_each(|(dx, dy)| {
                let (a, b) = dx.split_at_mut(half);
                vectorise!({
                    for ((a, b), &dy) in a.iter_mut().zip(b).zip(dy) {
                        let s = sigmoid(*a);
                        let (silu, slope) = (*a * s, s * (1.0 + *a * (1.0 - s)));
                        (*a, *b) = (dy * *b * slope, dy * silu);
                    }
                });
            });
            Ok(Some(tensor(dx, x.shape(), x)?))
        })))
    }
}
