//! Frozen weights in the order in which products read them.
//!
//! A product copies its right operand, some columns after the other, the same each time. Few rows, as
//! one image has, are multiplied an eighth faster by what need not be copied.

use crate::cpu::{PANEL, Real, View, transposed_in_panels, with_data};
use candle_core::{DType, Result, Tensor};
use std::borrow::Cow;

/// A frozen weight `[out, in]` as `[out / 32, in, 32]`, which operations on the CPU take instead, with the same
/// bits. None if it is so already or cannot be, or if nothing is faster then: on another device,
/// in another type than `f32`, on a CPU with neither AVX-512 nor AVX2, with another BLAS.
///
/// # Errors
/// If it is not a matrix.
pub fn in_panels(weight: &Tensor) -> Result<Option<Tensor>> {
    let (out, width) = sizes(weight)?;
    if weight.rank() == 3 || !weight.device().is_cpu() || weight.dtype() != DType::F32 {
        return Ok(None);
    }
    let panels = with_data(weight, |w| Ok(transposed_in_panels(&View::new(w, out, width))))?;
    let shape = (out / PANEL, width, PANEL);
    panels.map(|panels| Tensor::from_vec(panels, shape, weight.device())).transpose()
}

/// The weight `[out, in]`, whatever its order.
///
/// # Errors
/// If it is neither.
pub fn in_rows(weight: &Tensor) -> Result<Tensor> {
    match weight.rank() {
        3 => weight.transpose(1, 2)?.contiguous()?.reshape(((), weight.dim(1)?)),
        _ => Ok(weight.clone()),
    }
}

/// `(out, in)` of a weight in either order.
pub(crate) fn sizes(weight: &Tensor) -> Result<(usize, usize)> {
    match weight.dims() {
        dims @ [_, width, PANEL] => Ok((rows_of(dims), *width)),
        _ => weight.dims2(),
    }
}

/// `out`, of a weight's dimensions in either order.
pub(crate) fn rows_of(dims: &[usize]) -> usize {
    if dims.len() == 3 { dims[0] * PANEL } else { dims[0] }
}

/// The elements of a weight in either order.
#[derive(Clone, Copy)]
pub(crate) struct Weight<'a, T> {
    data: &'a [T],
    pub out: usize,
    pub width: usize,
    in_panels: bool,
}

impl<'a, T: Real> Weight<'a, T> {
    /// Of elements and dimensions.
    pub fn new(data: &'a [T], dims: &[usize]) -> Self {
        Self { data, out: rows_of(dims), width: dims[1], in_panels: dims.len() == 3 }
    }

    /// `[in, out]`
    pub fn transposed(&self) -> View<'a, T> {
        match self.in_panels {
            true => View::in_panels(self.data, self.width, self.out),
            false => View::new(self.data, self.out, self.width).t(),
        }
    }

    /// The elements of another matrix `[out, width]` in the order of this one.
    pub fn order_of<'b>(&self, rows: &'b [T], width: usize) -> Cow<'b, [T]> {
        if !self.in_panels {
            return Cow::Borrowed(rows);
        }
        Cow::Owned(turned(rows, (PANEL, width)))
    }

    /// Another matrix `[out, width]`, its elements in the order of this one.
    pub fn like<'b>(&self, data: &'b [T], width: usize) -> Weight<'b, T> {
        Weight { data, width, out: self.out, in_panels: self.in_panels }
    }

    /// `[out, in]`
    pub fn rows(&self) -> Cow<'a, [T]> {
        if !self.in_panels {
            return Cow::Borrowed(self.data);
        }
        Cow::Owned(turned(self.data, (self.width, PANEL)))
    }
}

/// The transposes of matrices of this size, one after the other.
fn turned<T: Copy>(data: &[T], (rows, cols): (usize, usize)) -> Vec<T> {
    let mut all = Vec::with_capacity(data.len());
    for data in data.chunks((rows * cols).max(1)) {
        (0..cols).for_each(|i| all.extend(data.iter().skip(i).step_by(cols)));
    }
    all
}
