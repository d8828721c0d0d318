//! Layer normalisation (PyTorch `F.layer_norm`) that keeps its gradient.

use crate::cpu::{
    Read, Real, by_float, data, element, lane_sum, pair_sum, sum_blocks, tensor, unset, vectorise,
    with_data, zeros,
};
use crate::graph::{self, Reads};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Normalises the last dimension of `x` to mean 0 and variance 1, then applies
/// `gamma` and `beta`. Tracked affine tensors get gradients, frozen ones cost nothing.
///
/// # Shapes
/// `x` `[..., d]`, `gamma` and `beta` `[d]`; the result has the shape of `x`.
///
/// # Errors
/// If the shapes do not fit or the type is neither `f32` nor `f64`.
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    let width = x.dims().last().copied().unwrap_or(0);
    if gamma.dims() != [width] || beta.dims() != [width] || width == 0 {
        candle_core::bail!(
            "layer_norm: x {:?}, gamma {:?} and beta {:?} do not fit",
            x.shape(),
            gamma.shape(),
            beta.shape()
        );
    }
    if crate::by_tensors(x) {
        return crate::device::layer_norm::layer_norm(x, gamma, beta, eps);
    }
    let (x, gamma, beta) = (x.contiguous()?, gamma.contiguous()?, beta.contiguous()?);
    let y = graph::apply3(&x, &gamma, &beta, LayerNorm { eps }, Reads::Arguments)?;
    graph::again(&y, move || {
        by_float!(x.dtype(), "layer_norm", T => {
            let (gamma, beta) = (Read::<T>::new(&gamma)?, Read::<T>::new(&beta)?);
            tensor(normalise(&Read::<T>::new(&x)?, &gamma, &beta, eps), x.shape(), &x)
        })
    });
    Ok(y)
}

struct LayerNorm {
    eps: f64,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "moa-layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        gamma: &CpuStorage,
        lg: &Layout,
        beta: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), "layer_norm", T => {
            let y = normalise::<T>(data(x, lx)?, data(gamma, lg)?, data(beta, lb)?, self.eps);
            Ok(element(y, lx.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        by_float!(x.dtype(), "layer_norm", T => {
            with_data::<T, _>(x, |x_| with_data::<T, _>(dy, |dy| {
                let width = gamma.elem_count();
                let mut dx = None;
                if x.track_op() {
                    let mut grad = zeros(x_.len());
                    with_data(gamma, |gamma| {
                        add_input_grad(&mut grad, x_, gamma, dy, self.eps);
                        Ok(())
                    })?;
                    dx = Some(tensor(grad, x.shape(), x)?);
                }
                let (mut dgamma, mut dbeta) = (None, None);
                if gamma.track_op() || beta.track_op() {
                    let mut sums = affine_grads(x_, dy, width, self.eps);
                    let beta_sums = sums.split_off(width);
                    dgamma = gamma.track_op().then(|| tensor(sums, width, gamma)).transpose()?;
                    dbeta = beta.track_op().then(|| tensor(beta_sums, width, beta)).transpose()?;
                }
                Ok((dx, dgamma, dbeta))
            }))
        })
    }
}

/// Mean and 1 / standard deviation of one row.
#[inline(always)]
fn moments<T: Real>(row: &[T], eps: f64) -> (T, T) {
    let n = T::from_f64(row.len() as f64);
    let mean = lane_sum(row, |v| v) / n;
    let var = lane_sum(row, |v| (v - mean) * (v - mean)) / n;
    (mean, T::one() / (var + T::from_f64(eps)).root())
}

/// The forward pass.
pub(crate) fn normalise<T: Real>(x: &[T], gamma: &[T], beta: &[T], eps: f64) -> Vec<T> {
    let width = gamma.len();
    let mut y = unset(x.len());
    y.par_chunks_mut(width).zip(x.par_chunks(width)).with_min_len(16).for_each(|(y, x)| {
        vectorise!({
            let (mean, inv) = moments(x, eps);
            for (((y, &x), &g), &b) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                *y = (x - mean) * inv * g + b;
            }
        });
    });
    y
}

/// Adds the gradient of `x` to `dx`.
pub(crate) fn add_input_grad<T: Real>(dx: &mut [T], x: &[T], gamma: &[T], dy: &[T], eps: f64) {
    let width = gamma.len();
    let n = T::from_f64(width as f64);
    let rows = dx.par_chunks_mut(width).zip(x.par_chunks(width)).zip(dy.par_chunks(width));
    rows.with_min_len(16).for_each_init(
        || vec![T::zero(); width],
        |scaled, ((dx, x), dy)| {
            vectorise!({
                let (mean, inv) = moments(x, eps);
                for ((scaled, &dy), &g) in scaled.iter_mut().zip(dy).zip(gamma) {
                    *scaled = dy * g;
                }
                let sum = lane_sum(scaled, |d| d) / n;
                let along = pair_sum(scaled, x, |d, x| d * (x - mean) * inv) / n;
                for ((dx, &x), &d) in dx.iter_mut().zip(x).zip(scaled.iter()) {
                    *dx += inv * (d - sum - (x - mean) * inv * along);
                }
            });
        },
    );
}

/// Gradients of gamma then beta, one after the other.
fn affine_grads<T: Real>(x: &[T], dy: &[T], width: usize, eps: f64) -> Vec<T> {
    sum_blocks(x.len() / width, 2 * width, |rows, plane| {
        let (dgamma, dbeta) = plane.split_at_mut(width);
        vectorise!({
            for row in rows {
                let span = row * width..(row + 1) * width;
                let (x, dy) = (&x[span.clone()], &dy[span]);
                let (mean, inv) = moments(x, eps);
                let sums = dgamma.iter_mut().zip(dbeta.iter_mut());
                for ((dgamma, dbeta), (&x, &dy)) in sums.zip(x.iter().zip(dy)) {
                    *dgamma += dy * (x - mean) * inv;
                    *dbeta += dy;
                }
            }
        });
    })
}
