//! Seeded dropout.

use crate::rng::Key;
use candle_core::{Result, Tensor};

/// Inverted dropout (PyTorch `F.dropout`): each element is zeroed with
/// probability `p`, the others are divided by `1 - p`. Element `i` (row-major)
/// is kept or not by the 53 bits drawn at index `i` of `key`.
///
/// # Errors
/// If `p` is not in `[0, 1)`.
pub fn dropout(x: &Tensor, p: f64, key: Key) -> Result<Tensor> {
    if !(0.0..1.0).contains(&p) {
        candle_core::bail!("dropout: the probability {p} is not in [0, 1)");
    }
    if p == 0.0 {
        return Ok(x.clone());
    }
    let kept: Vec<f64> = (0..x.elem_count() as u64)
        .map(|i| if key.draws(i).next_f64() < p { 0.0 } else { 1.0 / (1.0 - p) })
        .collect();
    let mask = Tensor::from_vec(kept, x.shape(), &candle_core::Device::Cpu)?;
    x * mask.to_dtype(x.dtype())?.to_device(x.device())?
}
