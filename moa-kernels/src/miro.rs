//! MIRO's penalty: how far features have moved from those of the pretrained network.

use crate::cpu::{Real, by_float, data, element, sum_blocks, tensor, with_data};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Added to every variance.
pub const EPS: f64 = 1e-5;

/// `b` of the variance 0.1, with which MIRO begins.
pub fn initial_scale() -> f64 {
    libm::log(libm::expm1(0.1 - EPS))
}

/// The mean of `((x - target)^2 / v + log v) / 2` over tokens and channels, a scalar: a
/// variance per channel, `v = softplus(b) + 1e-5` (Cha et al. 2022, "Domain Generalization by
/// Mutual-Information Regularization with Pre-trained Models"; `kakaobrain/miro`, `miro.py`).
/// `target` gets no gradient.
///
/// # Shapes
/// `x` and `target` `[..., d]`, `b` `[d]`.
///
/// # Errors
/// If the shapes differ, or there are no tokens.
pub fn penalty(x: &Tensor, target: &Tensor, b: &Tensor) -> Result<Tensor> {
    let width = x.dims().last().copied().unwrap_or(0);
    if x.dims() != target.dims() || b.dims() != [width] || x.elem_count() == 0 {
        candle_core::bail!(
            "miro: x {:?}, target {:?} and b {:?} do not fit",
            x.shape(),
            target.shape(),
            b.shape()
        );
    }
    let target = target.detach();
    if crate::by_tensors(x) {
        return crate::device::miro::penalty(x, &target, b);
    }
    let target = target.contiguous()?;
    crate::graph::apply2(&x.contiguous()?, &b.contiguous()?, Penalty { target })
}

struct Penalty {
    target: Tensor,
}

/// Elements per task, about.
const CHUNK: usize = 8192;

/// `softplus(b) + EPS`, and the derivative of it.
fn variance(b: f64) -> (f64, f64) {
    // As it stands, `log(1 + exp(b))` is infinite for large b.
    let softplus = b.max(0.0) + libm::log1p(libm::exp(-b.abs()));
    (softplus + EPS, 1.0 / (1.0 + libm::exp(-b)))
}

/// The mean of `(x - target)^2` of each channel.
fn distances<T: Real>(x: &[T], target: &[T], width: usize) -> Vec<f64> {
    let rows = x.len() / width;
    let sums = sum_blocks::<T>(rows, width, |rows, plane| {
        let span = rows.start * width..rows.end * width;
        for (x, t) in x[span.clone()].chunks(width).zip(target[span].chunks(width)) {
            for ((p, &x), &t) in plane.iter_mut().zip(x).zip(t) {
                *p += (x - t) * (x - t);
            }
        }
    });
    sums.into_iter().map(|sum| sum.to_f64() / rows as f64).collect()
}

impl CustomOp2 for Penalty {
    fn name(&self) -> &'static str {
        "moa-miro"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), "miro", T => {
            let b = data::<T>(b, lb)?;
            let x = data::<T>(x, lx)?;
            let distances = with_data::<T, _>(&self.target, |t| Ok(distances(x, t, b.len())))?;
            let of = |(d, b): (f64, &T)| {
                let (v, _) = variance(b.to_f64());
                d / v + libm::log(v)
            };
            let sum: f64 = distances.into_iter().zip(b).map(of).sum();
            Ok(element(vec![(sum / 2.0 / b.len() as f64) as T], ()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        b: &Tensor,
        _sum: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let upstream = grad.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        let (width, count) = (b.elem_count(), x.elem_count() as f64);
        by_float!(x.dtype(), "miro", T => with_data::<T, _>(x, |x_| {
            with_data::<T, _>(&self.target, |t| with_data::<T, _>(b, |b_| {
                let variances: Vec<_> = b_.iter().map(|b| variance(b.to_f64())).collect();
                let dx = x.track_op().then(|| {
                    let share = |&(v, _): &(f64, f64)| (upstream / v / count) as T;
                    let shares: Vec<T> = variances.iter().map(share).collect();
                    let mut dx = x_.to_vec();
                    let rows = dx.par_chunks_mut(width).zip(t.par_chunks(width));
                    rows.with_min_len(CHUNK / width + 1).for_each(|(dx, t)| {
                        for ((dx, &t), &share) in dx.iter_mut().zip(t).zip(&shares) {
                            *dx = (*dx - t) * share;
                        }
                    });
                    tensor(dx, x.shape(), x)
                });
                let db = b.track_op().then(|| {
                    let of = |(d, &(v, slope)): (f64, &(f64, f64))| {
                        ((1.0 - d / v) / v * slope * upstream / 2.0 / width as f64) as T
                    };
                    let distances = distances(x_, t, width).into_iter().zip(&variances);
                    tensor(distances.map(of).collect(), width, b)
                });
                Ok((dx.transpose()?, db.transpose()?))
            }))
        }))
    }
}
