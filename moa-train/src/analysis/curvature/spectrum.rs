//! The density of the Hessian's eigenvalues by stochastic Lanczos quadrature (Ghorbani et al.
//! 2019; PyHessian), over all that trains.

use super::lanczos::lanczos;
use super::objective::Objective;
use anyhow::Result;
use moa_kernels::rng::{Key, Purpose};
use serde::{Deserialize, Serialize};

/// Eigenvalues with weights, from several random starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spectrum {
    /// For each start `[eigenvalue, weight]`; the weights of a start sum to 1.
    pub starts: Vec<Vec<[f64; 2]>>,
    /// Numbers that train.
    pub parameters: usize,
    /// Images behind the loss.
    pub images: usize,
    /// The loss there.
    pub loss: f64,
}

impl Spectrum {
    /// The largest and the smallest eigenvalue that were found.
    pub fn ends(&self) -> (f64, f64) {
        let all = self.starts.iter().flatten().map(|[value, _]| *value);
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    }

    /// The density at `x`, every eigenvalue spread by a normal distribution of deviation `width`.
    pub fn density(&self, x: f64, width: f64) -> f64 {
        let bell = |value: f64| {
            let z = (x - value) / width;
            (-0.5 * z * z).exp() / (width * (2.0 * std::f64::consts::PI).sqrt())
        };
        let sum: f64 = self.starts.iter().flatten().map(|[value, w]| w * bell(*value)).sum();
        sum / self.starts.len().max(1) as f64
    }
}

/// From `starts` random directions, `steps` steps each. `say` is told of each step.
///
/// # Errors
/// Only if the device fails.
pub fn spectrum(
    objective: &Objective,
    (starts, steps): (usize, usize),
    seed: u64,
    mut say: impl FnMut(usize),
) -> Result<Spectrum> {
    let n = objective.start().len();
    let mut found = Vec::new();
    for start in 0..starts {
        let mut draws = Key::new(seed, Purpose::Analysis, 1).draws(start as u64);
        let direction: Vec<f64> =
            (0..n).map(|_| if draws.chance(0.5) { 1.0 } else { -1.0 }).collect();
        let matrix = lanczos(&direction, steps, |v| {
            say(1);
            objective.hessian_times(v)
        })?;
        found.push(matrix.eigen().iter().map(|e| [e.value, e.weight]).collect());
    }
    let loss = objective.loss(objective.start())?;
    Ok(Spectrum { starts: found, parameters: n, images: objective.images(), loss })
}
