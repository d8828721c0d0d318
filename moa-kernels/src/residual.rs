//! `x + gamma * y`: the residual connection, with DINOv2's layer scale.

use crate::cpu::{Read, Real, by_float, copied, sum_blocks, tensor, unset, vectorise, with_data};
use crate::graph;
use candle_core::{Result, Tensor};
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
    let (branch, factor) = (y.contiguous()?, gamma.map(Tensor::contiguous).transpose()?);
    let result = plain(x, &branch, factor.as_ref())?;
    let args: Vec<_> = [x, y].into_iter().chain(gamma).collect();
    // Of the branch only the gradient of `gamma` reads anything.
    let branch = gamma.is_some_and(Tensor::track_op).then_some(branch);
    let wants = [x.track_op(), y.track_op()];
    graph::node("moa-residual", result, &args, move |grad| {
        let Some(gamma) = &factor else {
            return Ok(wants.map(|wants| wants.then(|| grad.clone())).to_vec());
        };
        by_float!(grad.dtype(), "residual", T => with_data::<T, _>(grad, |g| {
            let scale = || tensor(scaled(g, &Read::new(gamma)?), grad.shape(), grad);
            let products = |y| tensor(products(&Read::new(y)?, g, gamma.elem_count()), gamma.shape(), grad);
            Ok(vec![
                wants[0].then(|| grad.clone()),
                wants[1].then(scale).transpose()?,
                branch.as_ref().map(products).transpose()?,
            ])
        }))
    })
}

/// `x + gamma * y` of contiguous tensors on the CPU, without a gradient.
pub(crate) fn plain(x: &Tensor, y: &Tensor, gamma: Option<&Tensor>) -> Result<Tensor> {
    by_float!(x.dtype(), "residual", T => with_data::<T, _>(x, |x_| {
        let gamma = Read::optional(gamma)?;
        tensor(sum(x_, &Read::new(y)?, gamma.as_deref()), x.shape(), x)
    }))
}

/// Elements per task, about.
const CHUNK: usize = 8192;

/// Elements per task, whole rows of `gamma`.
fn chunk<T>(gamma: Option<&[T]>) -> usize {
    gamma.map_or(CHUNK, |gamma| (CHUNK / gamma.len() + 1) * gamma.len())
}

/// `y = x + gamma * y` for the rows of a task.
fn add<T: Real>(y: &mut [T], x: &[T], gamma: Option<&[T]>) {
    let Some(gamma) = gamma else {
        return vectorise!(y.iter_mut().zip(x).for_each(|(y, &x)| *y += x));
    };
    vectorise!({
        for (y, x) in y.chunks_exact_mut(gamma.len()).zip(x.chunks_exact(gamma.len())) {
            for ((y, &x), &g) in y.iter_mut().zip(x).zip(gamma) {
                *y = x + g * *y;
            }
        }
    });
}

/// `y = x + gamma * y`, in place; without `gamma`, of 1.
pub(crate) fn add_onto<T: Real>(y: &mut [T], x: &[T], gamma: Option<&[T]>) {
    let chunk = chunk(gamma);
    y.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(|(y, x)| add(y, x, gamma));
}

/// `x + gamma * y`; without `gamma`, of 1.
pub(crate) fn sum<T: Real>(x: &[T], y: &[T], gamma: Option<&[T]>) -> Vec<T> {
    let (chunk, mut sum) = (chunk(gamma), unset(y.len()));
    let chunks = sum.par_chunks_mut(chunk).zip(y.par_chunks(chunk)).zip(x.par_chunks(chunk));
    chunks.for_each(|((sum, y), x)| {
        sum.copy_from_slice(y);
        add(sum, x, gamma);
    });
    sum
}

/// Rows times `gamma`.
pub(crate) fn scaled<T: Real>(rows: &[T], gamma: &[T]) -> Vec<T> {
    let mut scaled = copied(rows);
    scaled.par_chunks_mut(gamma.len()).with_min_len(CHUNK / gamma.len() + 1).for_each(|row| {
        vectorise!(row.iter_mut().zip(gamma).for_each(|(v, &g)| *v *= g));
    });
    scaled
}

/// Per channel, the sum of `y` times `g` over all rows.
fn products<T: Real>(y: &[T], g: &[T], width: usize) -> Vec<T> {
    sum_blocks(y.len() / width, width, |rows, plane| {
        let span = rows.start * width..rows.end * width;
        for (y, g) in y[span.clone()].chunks(width).zip(g[span].chunks(width)) {
            for ((p, &y), &g) in plane.iter_mut().zip(y).zip(g) {
                *p += y * g;
            }
        }
    })
}
