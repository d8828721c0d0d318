//! `y = x W^T + b` (PyTorch `F.linear`) where any of the three may be frozen.

use crate::cpu::{Into, Real, Threads, View, gemm, product, sum_blocks};
use crate::cpu::{by_float, column_sums, data, element, tensor, unset, with_data};
use crate::graph::{self, Reads};
use crate::panels::{self, Weight};
use crate::router::{Shared, forward_joint, gathered};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use std::ops::Range;

/// Rows of a weight that are few.
const FEW: usize = 16;

/// Applies a linear layer to the last dimension of `x`.
///
/// A gradient is computed for each argument that is tracked and for no other:
/// with a frozen weight the backward pass is the single product `dy W`.
///
/// # Shapes
/// `x` `[..., in]`, `weight` `[out, in]` or [in panels](crate::panels), `bias` `[out]`; the result is
/// `[..., out]`.
///
/// # Errors
/// If the shapes do not fit or the type is neither `f32` nor `f64`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    apply(x, weight, bias, Linear::default())
}

pub(crate) fn apply(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    op: Linear,
) -> Result<Tensor> {
    let (out, width) = panels::sizes(weight)?;
    if x.dims().last() != Some(&width) || bias.is_some_and(|b| b.dims() != [out]) {
        candle_core::bail!(
            "linear: x {:?}, weight {:?} and bias {:?} do not fit",
            x.shape(),
            weight.shape(),
            bias.map(Tensor::shape)
        );
    }
    if crate::by_tensors(x) {
        return crate::device::linear::linear(x, &panels::in_rows(weight)?, bias);
    }
    // A gradient reads the weight by rows.
    let weight = if x.track_op() { &panels::in_rows(weight)? } else { weight };
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    match bias {
        Some(bias) => graph::apply3(&x, &weight, &bias.contiguous()?, op, Reads::Arguments),
        None => graph::apply2(&x, &weight, op),
    }
}

/// The operation. As a router's projection it shares work with the routed layer of the
/// same tokens.
#[derive(Default)]
pub(crate) struct Linear {
    /// More rows of the weight, whose results `shared` keeps; only without a bias.
    pub downs: Option<Tensor>,
    pub shared: Shared,
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "moa-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), "linear", T => {
            let weight = Weight::new(data::<T>(w, lw)?, lw.dims());
            let y = forward(data(x, lx)?, weight, Some(data(b, lb)?));
            Ok(element(y, out_shape(lx, lw)))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.backward(x, w, dy)?;
        let db = if b.track_op() { Some(sum_rows(dy, b)?) } else { None };
        Ok((dx, dw, db))
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "moa-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), "linear", T => {
            let (x, w) = (data::<T>(x, lx)?, data(w, lw)?);
            let y = match &self.downs {
                Some(downs) => forward_joint(x, w, downs, &self.shared)?,
                None => forward(x, Weight::new(w, lw.dims()), None),
            };
            Ok(element(y, out_shape(lx, lw)))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(x, w, dy)
    }
}

fn out_shape(lx: &Layout, lw: &Layout) -> Vec<usize> {
    let mut dims = lx.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = panels::rows_of(lw.dims());
    }
    dims
}

/// `x` `[rows, in]`.
pub(crate) fn forward<T: Real>(x: &[T], weight: Weight<'_, T>, bias: Option<&[T]>) -> Vec<T> {
    let rows = x.len() / weight.width.max(1);
    let mut y = unset(rows * weight.out);
    let x = View::new(x, rows, weight.width);
    forward_into(&mut y, x, weight, bias.map_or(Into::Set, Into::Rows));
    y
}

/// [`forward`] into memory that is there, from any start.
pub(crate) fn forward_into<T: Real>(
    y: &mut [T],
    x: View<'_, T>,
    weight: Weight<'_, T>,
    into: Into<'_, T>,
) {
    gemm(y, weight.out, into, &[(x, weight.transposed())], Threads::All);
}

/// The gradient of `x`: `dy w`.
pub(crate) fn input_grad<T: Real>(dy: View<'_, T>, w: &[T]) -> Vec<T> {
    let out = dy.cols();
    let w = View::new(w, out, w.len() / out.max(1));
    product(Into::Set, &[(dy, w)], Threads::All)
}

impl Linear {
    fn backward(
        &self,
        x: &Tensor,
        w: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (out, width) = w.dims2()?;
        let rows = x.elem_count() / width.max(1);
        let owed = self.shared.take().unwrap_or_default();
        by_float!(x.dtype(), "linear", T => with_data::<T, _>(dy, |dy| {
            let g = View::new(dy, rows, out);
            let mut dx = None;
            if x.track_op() {
                let sizes = (rows, width);
                let grad = with_data(w, |w| gathered(g, View::new(w, out, width), sizes, &owed))?;
                dx = Some(tensor(grad, x.shape(), x)?);
            }
            let mut dw = None;
            if w.track_op() {
                let grad = with_data(x, |x| Ok(weight_grad(dy, x, out, width)))?;
                dw = Some(tensor(grad, (out, width), w)?);
            }
            Ok((dx, dw))
        }))
    }
}

/// The gradient of the weight: `dy^T x`. If it has few rows, it is a sum over blocks of tokens:
/// these are read once then, and not in columns.
fn weight_grad<T: Real>(dy: &[T], x: &[T], out: usize, width: usize) -> Vec<T> {
    let part = |rows: Range<usize>, to: &mut [T], threads: Threads| {
        let g = View::new(&dy[rows.start * out..rows.end * out], rows.len(), out);
        let x = View::new(&x[rows.start * width..rows.end * width], rows.len(), width);
        gemm(to, width, Into::Set, &[(g.t(), x)], threads);
    };
    let rows = x.len() / width.max(1);
    if out <= FEW {
        return sum_blocks(rows, out * width, |rows, to| part(rows, to, Threads::One));
    }
    let mut grad = unset(out * width);
    part(0..rows, &mut grad, Threads::All);
    grad
}

/// The gradient of a bias: `dy` summed over all but its last dimension.
pub(crate) fn sum_rows(dy: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let width = bias.elem_count();
    by_float!(dy.dtype(), "linear", T => with_data::<T, _>(dy, |dy| {
        tensor(column_sums(dy, width), width, bias)
    }))
}
