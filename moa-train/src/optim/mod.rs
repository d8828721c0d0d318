//! Optimisers with named state that can be saved.

mod adam;
mod schedule;

pub use adam::Adam;
pub use schedule::learning_rate;

use anyhow::Result;
use candle_core::Tensor;
use moa_kernels::adam::squares;
use std::collections::BTreeMap;

/// Gradients by the name of their tensor.
pub type Gradients = BTreeMap<String, Tensor>;

/// The norm of all gradients together, in `f64`.
///
/// # Errors
/// Only if the device fails.
pub fn norm(gradients: &Gradients) -> Result<f64> {
    let all: Vec<_> = gradients.values().collect();
    Ok(squares(&all)?.iter().sum::<f64>().sqrt())
}

/// The name of the first tensor whose gradient is not finite.
///
/// # Errors
/// Only if the device fails.
pub fn first_not_finite(gradients: &Gradients) -> Result<Option<&str>> {
    let all: Vec<_> = gradients.values().collect();
    let found = gradients.keys().zip(squares(&all)?).find(|(_, square)| !square.is_finite());
    Ok(found.map(|(name, _)| name.as_str()))
}

/// Scales gradients down so that their norm is at most `limit` (PyTorch
/// `clip_grad_norm_`).
///
/// # Errors
/// Only if the device fails.
pub fn clip(gradients: &mut Gradients, norm: f64, limit: f64) -> Result<()> {
    let factor = limit / (norm + 1e-6);
    if factor < 1.0 {
        for gradient in gradients.values_mut() {
            *gradient = (&*gradient * factor)?;
        }
    }
    Ok(())
}
