//! The loss that keeps experts in use (paper section 3; reference code
//! `cv_squared` of importance and load).

use super::Routing;
use super::cpu::{softmax, softmax_grad};
use crate::cpu::{BLOCK, by_float, data, element, tensor, with_data};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Which noisy probability a token's other experts are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// The smallest one chosen (the k-th largest).
    Kth,
    /// The largest.
    Max,
}

/// Settings of [`balance_loss`].
#[derive(Clone, Copy, Debug)]
pub struct Balance {
    /// Factor of the loss; 0.01 in the paper.
    pub weight: f64,
    /// Standard deviation of the noise, `gate_noise / experts`.
    pub noise_std: f64,
    /// See [`Threshold`].
    pub threshold: Threshold,
}

/// `weight * (CV^2(importance) + CV^2(load)) / 2`, a scalar.
///
/// With `p` the softmax of the clean scores and `q` the threshold of a token:
/// `importance_e = sum_t p_te`, `load_e = sum_t Phi((p_te - q_t) / noise_std)`, and
/// `CV^2(v)` is the unbiased variance over the squared mean plus 1e-10. One
/// expert is always balanced: 0. Computed in `f64` whatever the type.
///
/// # Errors
/// If the type is neither `f32` nor `f64`.
pub fn balance_loss(routing: &Routing, balance: Balance) -> Result<Tensor> {
    if crate::by_tensors(&routing.scores) {
        return crate::device::balance::balance_loss(routing, balance);
    }
    let op = BalanceLoss { routing: routing.clone(), balance };
    crate::graph::apply1(&routing.scores.contiguous()?, op)
}

/// `(importance, load)`, each one number per expert.
///
/// # Errors
/// Only if the device fails.
pub(crate) fn statistics(routing: &Routing, b: Balance) -> Result<(Vec<f64>, Vec<f64>)> {
    let experts = routing.experts();
    let clean = clean_probs(routing)?;
    let noisy = wide(&routing.probs)?;
    let q = thresholds(routing, &noisy, b.threshold)?;
    let sums = crate::cpu::sum_blocks(routing.tokens(), 2 * experts, |rows, plane| {
        for t in rows {
            for e in 0..experts {
                let p = clean[t * experts + e];
                plane[e] += p;
                plane[experts + e] += normal_cdf((p - noisy[q[t]]) / b.noise_std);
            }
        }
    });
    Ok((sums[..experts].to_vec(), sums[experts..].to_vec()))
}

fn wide(t: &Tensor) -> Result<Vec<f64>> {
    t.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

fn clean_probs(routing: &Routing) -> Result<Vec<f64>> {
    let mut p = wide(&routing.scores.detach())?;
    let experts = routing.experts();
    p.par_chunks_mut(BLOCK * experts).for_each(|rows| softmax(rows, experts));
    Ok(p)
}

/// Where each token's threshold stands in the flat noisy probabilities.
fn thresholds(routing: &Routing, noisy: &[f64], rule: Threshold) -> Result<Vec<usize>> {
    let (experts, k) = (routing.experts(), routing.gating.top_k);
    let choice = if rule == Threshold::Kth { k - 1 } else { 0 };
    let indices = routing.indices.flatten_all()?.to_vec1::<u32>()?;
    debug_assert_eq!(noisy.len(), routing.tokens() * experts);
    Ok(indices
        .chunks_exact(k)
        .enumerate()
        .map(|(t, chosen)| t * experts + chosen[choice] as usize)
        .collect())
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

fn normal_density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x) * 0.398_942_280_401_432_7
}

/// Squared coefficient of variation and its gradient.
fn cv_squared(v: &[f64]) -> (f64, Vec<f64>) {
    if v.len() < 2 {
        return (0.0, vec![0.0; v.len()]);
    }
    let n = v.len() as f64;
    let mean = v.iter().sum::<f64>() / n;
    let var = v.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
    let below = mean * mean + 1e-10;
    let slope =
        |x: &f64| 2.0 * (x - mean) / ((n - 1.0) * below) - 2.0 * var * mean / (n * below * below);
    (var / below, v.iter().map(slope).collect())
}

struct BalanceLoss {
    routing: Routing,
    balance: Balance,
}

impl CustomOp1 for BalanceLoss {
    fn name(&self) -> &'static str {
        "moa-balance-loss"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (importance, load) = statistics(&self.routing, self.balance)?;
        let loss = 0.5 * self.balance.weight * (cv_squared(&importance).0 + cv_squared(&load).0);
        by_float!(scores.dtype(), "balance_loss", T => {
            data::<T>(scores, layout)?;
            Ok(element(vec![loss as T], ()))
        })
    }

    fn bwd(&self, scores: &Tensor, _loss: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (routing, b) = (&self.routing, self.balance);
        let upstream = grad.to_dtype(DType::F64)?.to_scalar::<f64>()? * 0.5 * b.weight;
        let (importance, load) = statistics(routing, b)?;
        let (dimportance, dload) = (cv_squared(&importance).1, cv_squared(&load).1);
        let experts = routing.experts();
        let clean = clean_probs(routing)?;
        let noisy = wide(&routing.probs)?;
        let q = thresholds(routing, &noisy, b.threshold)?;
        let mut dscores = vec![0.0; clean.len()];
        dscores.par_chunks_mut(experts).enumerate().with_min_len(BLOCK).for_each(|(t, out)| {
            let at = t * experts..(t + 1) * experts;
            let (clean, noisy_row) = (&clean[at.clone()], &noisy[at.clone()]);
            // Through the clean probabilities, then through the threshold.
            let mut dthreshold = 0.0;
            for e in 0..experts {
                let u = (clean[e] - noisy[q[t]]) / b.noise_std;
                let slope = dload[e] * normal_density(u) / b.noise_std;
                out[e] = dimportance[e] + slope;
                dthreshold -= slope;
            }
            softmax_grad(out, clean);
            let mut through = vec![0.0; experts];
            through[q[t] - at.start] = dthreshold;
            softmax_grad(&mut through, noisy_row);
            out.iter_mut().zip(through).for_each(|(o, d)| *o = (*o + d) * upstream);
        });
        by_float!(scores.dtype(), "balance_loss", T => with_data::<T, _>(scores, |_| {
            let grad: Vec<T> = dscores.iter().map(|&v| v as T).collect();
            Ok(Some(tensor(grad, scores.shape(), scores)?))
        }))
    }
}
