//! Activations of transformer MLPs.

use crate::cpu::{Real, by_float, data, element, tensor, unset, vectorise, with_data};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Elements per task, about.
const CHUNK: usize = 8192;

/// What stands between the two linear layers of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x Phi(x)` (PyTorch `F.gelu`).
    Gelu,
    /// `x sigmoid(1.702 x)`, with OpenAI's CLIP weights.
    QuickGelu,
    /// `silu(a) * b` where `x` is `a` and `b` side by side (transformers
    /// `Dinov2SwiGLUFFN`): half as wide as its input.
    SwiGlu,
}

/// Applies an activation to every element, or with SwiGLU to the halves of the last
/// dimension.
///
/// # Errors
/// If SwiGLU gets an odd width, or the type is neither `f32` nor `f64`.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let width = x.dims().last().copied().unwrap_or(0);
    if activation == Activation::SwiGlu && width % 2 == 1 {
        candle_core::bail!("swiglu: the last dimension of {:?} is not even", x.shape());
    }
    if crate::by_tensors(x) {
        return crate::device::activation::activate(x, activation);
    }
    crate::graph::apply1(&x.contiguous()?, activation)
}

impl Activation {
    /// Width of the result.
    pub(crate) fn out(self, width: usize) -> usize {
        if self == Activation::SwiGlu { width / 2 } else { width }
    }

    /// Fills rows of `y`, `apart` elements from one to the next, from rows of `width`.
    pub(crate) fn forward<T: Real>(self, x: &[T], width: usize, y: &mut [T], apart: usize) {
        let rows = (CHUNK / width.max(1)).max(1);
        let chunks = y.par_chunks_mut((rows * apart).max(1));
        chunks.zip(x.par_chunks((rows * width).max(1))).for_each(|(y, x)| {
            let rows = y.chunks_mut(apart).zip(x.chunks_exact(width));
            // Matched outside the loops, so that each becomes vector code.
            rows.for_each(|(y, x)| match self {
                Activation::Gelu => map(y, x, |x| x * normal_cdf(x)),
                Activation::QuickGelu => map(y, x, |x| x * sigmoid(T::from_f64(1.702) * x)),
                Activation::SwiGlu => vectorise!({
                    let (a, b) = x.split_at(width / 2);
                    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                        *y = a * sigmoid(a) * b;
                    }
                }),
            });
        });
    }

    /// Fills rows of `dx`, `apart` elements from one to the next, from rows of `width` elements of
    /// `x` and the gradient of the result.
    pub(crate) fn backward<T: Real>(
        self,
        x: &[T],
        width: usize,
        dy: &[T],
        dx: &mut [T],
        apart: usize,
    ) {
        let (rows, out) = ((CHUNK / width.max(1)).max(1), self.out(width));
        let chunks = dx.par_chunks_mut((rows * apart).max(1));
        let chunks = chunks.zip(x.par_chunks((rows * width).max(1)));
        chunks.zip(dy.par_chunks((rows * out).max(1))).for_each(|((dx, x), dy)| {
            let rows = dx.chunks_mut(apart).zip(x.chunks_exact(width)).zip(dy.chunks_exact(out));
            rows.for_each(|((dx, x), dy)| match self {
                Activation::Gelu => map2(dx, x, dy, |x, dy| {
                    let density = (x * x * T::from_f64(-0.5)).exponential();
                    dy * (normal_cdf(x) + x * density * T::from_f64(0.398_942_280_401_432_7))
                }),
                Activation::QuickGelu => map2(dx, x, dy, |x, dy| {
                    let s = sigmoid(T::from_f64(1.702) * x);
                    dy * (s + T::from_f64(1.702) * x * s * (T::one() - s))
                }),
                Activation::SwiGlu => vectorise!({
                    let ((a, b), (da, db)) = (x.split_at(out), dx.split_at_mut(out));
                    let to = da.iter_mut().zip(db);
                    for (((da, db), (&a, &b)), &dy) in to.zip(a.iter().zip(b)).zip(dy) {
                        let s = sigmoid(a);
                        *da = dy * b * s * (T::one() + a * (T::one() - s));
                        *db = dy * a * s;
                    }
                }),
            });
        });
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

#[inline(always)]
fn map<T: Real>(y: &mut [T], x: &[T], f: impl Fn(T) -> T) {
    vectorise!({
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f(x);
        }
    });
}

#[inline(always)]
fn map2<T: Real>(y: &mut [T], a: &[T], b: &[T], f: impl Fn(T, T) -> T) {
    vectorise!({
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = f(a, b);
        }
    });
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "moa-activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut dims = layout.dims().to_vec();
        let width = dims.last().copied().unwrap_or(1);
        if let Some(last) = dims.last_mut() {
            *last = self.out(width);
        }
        by_float!(x.dtype(), self.name(), T => {
            let mut y = unset(dims.iter().product());
            self.forward::<T>(data(x, layout)?, width, &mut y, self.out(width));
            Ok(element(y, dims))
        })
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let width = x.dims().last().copied().unwrap_or(1);
        by_float!(x.dtype(), self.name(), T => with_data::<T, _>(x, |x_| with_data::<T, _>(dy, |dy| {
            let mut dx = unset(x_.len());
            self.backward(x_, width, dy, &mut dx, width);
            Ok(Some(tensor(dx, x.shape(), x)?))
        })))
    }
}
