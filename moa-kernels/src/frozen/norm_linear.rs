//! Layer normalisation and a linear layer: the way into attention.

use super::{Dense, DenseData, Norm, NormData, ROWS};
use crate::cpu::{Read, Real, View, by_float, data, element, tensor, unset, zeros};
use crate::panels;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// `linear(norm(x))`.
///
/// # Shapes
/// `x` `[..., in]`; the result is `[..., out]`.
///
/// # Errors
/// If the shapes do not fit or the type is neither `f32` nor `f64`.
pub fn norm_linear(x: &Tensor, norm: Norm, linear: Dense) -> Result<Tensor> {
    let width = x.dims().last().copied().unwrap_or(0);
    norm.check("norm_linear", width)?;
    linear.check("norm_linear", width, None)?;
    if crate::by_tensors(x) {
        let x = crate::layer_norm::layer_norm(x, &norm.weight, &norm.bias, norm.eps)?;
        return crate::linear::linear(&x, &linear.weight, linear.bias.as_ref());
    }
    crate::graph::apply1(&x.contiguous()?, NormLinear { norm, linear })
}

struct NormLinear {
    norm: Norm,
    linear: Dense,
}

impl NormLinear {
    fn forward<T: Real>(&self, x: &[T], width: usize) -> Result<Vec<T>> {
        let (norm, linear) = (self.norm.read::<T>()?, self.linear.read::<T>()?);
        let mut y = unset(x.len() / width * linear.out);
        forward(&norm, &linear, x, &mut y);
        Ok(y)
    }

    fn backward<T: Real>(&self, x: &[T], dy: &[T]) -> Result<Vec<T>> {
        let (norm, linear) = (self.norm.read::<T>()?, self.linear.read::<T>()?);
        let mut dx = zeros(x.len());
        backward(&norm, &linear, x, dy, &mut dx);
        Ok(dx)
    }
}

/// Fills `y`, some rows at a time.
pub(super) fn forward<T: Real>(
    norm: &NormData<'_, T>,
    linear: &DenseData<'_, T>,
    x: &[T],
    y: &mut [T],
) {
    let width = norm.weight.len();
    for (x, y) in x.chunks(ROWS * width).zip(y.chunks_mut(ROWS * linear.out)) {
        linear.forward(View::all(&norm.forward(x), width), y);
    }
}

/// Adds the gradient of `x` to `dx`.
pub(super) fn backward<T: Real>(
    norm: &NormData<'_, T>,
    linear: &DenseData<'_, T>,
    x: &[T],
    dy: &[T],
    dx: &mut [T],
) {
    let width = norm.weight.len();
    let rows = x.chunks(ROWS * width).zip(dx.chunks_mut(ROWS * width));
    for ((x, dx), dy) in rows.zip(dy.chunks(ROWS * linear.out)) {
        norm.backward(x, &linear.backward(View::all(dy, linear.out)), dx);
    }
}

impl CustomOp1 for NormLinear {
    fn name(&self) -> &'static str {
        "moa-norm-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut dims = layout.dims().to_vec();
        let width = self.norm.weight.elem_count();
        if let Some(last) = dims.last_mut() {
            *last = panels::sizes(&self.linear.weight)?.0;
        }
        by_float!(x.dtype(), self.name(), T => {
            Ok(element(self.forward::<T>(data(x, layout)?, width)?, dims))
        })
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        by_float!(x.dtype(), self.name(), T => {
            let dx = self.backward::<T>(&Read::new(x)?, &Read::new(&dy)?)?;
            Ok(Some(tensor(dx, x.shape(), x)?))
        })
    }
}
