//! `x + gamma * y`: the residual connection, with DINOv2's layer scale.

use crate::cpu::{Real, by_float, data, element, sum_blocks, tensor, vectorise, with_data};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Adds a branch to the residual stream, scaled per channel if `gamma` is given.
///
/// Unlike candle's addition it computes nothing for an untracked side (the
/// stream below the first adapter).
///
/// # Shapes
/// `x` and `y` `[..., d]`, `gamma` `[d]`.
///
/// # Errors
/// If the shapes differ or the type is neither `f32` nor `f64`.
pub fn residual(x: &Tensor, y: &Tensor, gamma: Option<&Tensor>) -> Result<Tensor> {
    let width = x.dims().last().copied().unwrap_or(0);
    if x.dims() != y.dims() || gamma.is_some_and(|g| g.dims() != [width]) {
        candle_core::bail!(
            "residual: x {:?}, y {:?} and gamma {:?} do not fit",
            x.shape(),
            y.shape(),
            gamma.map(Tensor::shape)
        );
    }
    if crate::by_tensors(x) {
        return crate::device::residual::residual(x, y, gamma);
    }
    let (x, y) = (x.contiguous()?, y.contiguous()?);
    match gamma {
        Some(gamma) => crate::graph::apply3(&x, &y, &gamma.contiguous()?, Residual),
        None => crate::graph::apply2(&x, &y, Residual),
    }
}

struct Residual;

/// Elements per task, about.
const CHUNK: usize = 8192;

/// `y = x + gamma * y`, in place; without `gamma`, of 1.
pub(crate) fn add_onto<T: Real>(y: &mut [T], x: &[T], gamma: Option<&[T]>) {
    let Some(gamma) = gamma else {
        y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
            vectorise!(y.iter_mut().zip(x).for_each(|(y, &x)| *y += x));
        });
        return;
    };
    let rows = y.par_chunks_mut(gamma.len()).zip(x.par_chunks(gamma.len()));
    rows.with_min_len(CHUNK / gamma.len() + 1).for_each(|(y, x)| {
        vectorise!({
            for ((y, &x), &g) in y.iter_mut().zip(x).zip(gamma) {
                *y = x + g * *y;
            }
        });
    });
}

/// Rows times `gamma`.
pub(crate) fn scaled<T: Real>(rows: &[T], gamma: &[T]) -> Vec<T> {
    let mut scaled = rows.to_vec();
    scaled.par_chunks_mut(gamma.len()).with_min_len(CHUNK / gamma.len() + 1).for_each(|row| {
        vectorise!(row.iter_mut().zip(gamma).for_each(|(v, &g)| *v *= g));
    });
    scaled
}

impl CustomOp2 for Residual {
    fn name(&self) -> &'static str {
        "moa-residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        y: &CpuStorage,
        ly: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), "residual", T => {
            let mut sum = data::<T>(y, ly)?.to_vec();
            add_onto(&mut sum, data::<T>(x, lx)?, None);
            Ok(element(sum, lx.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _sum: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let share = |t: &Tensor| t.track_op().then(|| grad.clone());
        Ok((share(x), share(y)))
    }
}

impl CustomOp3 for Residual {
    fn name(&self) -> &'static str {
        "moa-residual-scaled"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        y: &CpuStorage,
        ly: &Layout,
        gamma: &CpuStorage,
        lg: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), "residual", T => {
            let mut sum = data::<T>(y, ly)?.to_vec();
            add_onto(&mut sum, data::<T>(x, lx)?, Some(data::<T>(gamma, lg)?));
            Ok(element(sum, lx.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        gamma: &Tensor,
        _sum: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = gamma.elem_count();
        by_float!(x.dtype(), "residual", T => with_data::<T, _>(grad, |g| {
            let mut dy = None;
            if y.track_op() {
                let scaled = with_data(gamma, |gamma| Ok(scaled(g, gamma)))?;
                dy = Some(tensor(scaled, y.shape(), y)?);
            }
            let mut dgamma = None;
            if gamma.track_op() {
                let sums = with_data::<T, _>(y, |y| {
                    Ok(sum_blocks::<T>(y.len() / width, width, |rows, plane| {
                        let span = rows.start * width..rows.end * width;
                        for (y, g) in y[span.clone()].chunks(width).zip(g[span].chunks(width)) {
                            for ((p, &y), &g) in plane.iter_mut().zip(y).zip(g) {
                                *p += y * g;
                            }
                        }
                    }))
                })?;
                dgamma = Some(tensor(sums, width, gamma)?);
            }
            Ok((x.track_op().then(|| grad.clone()), dy, dgamma))
        }))
    }
}
