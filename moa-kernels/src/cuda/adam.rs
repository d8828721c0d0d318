//! `adam.cu`.

use super::launch::{Launch, Words, empty};
use crate::adam::Factors;
use candle_core::{DType, Result, Tensor};

const MODULE: (&str, &str) = ("moa-adam", super::ptx::ADAM);

/// The new value and moments; all tensors are `f32`.
pub fn apply(
    f: Factors,
    [value, gradient, m, v]: [&Tensor; 4],
) -> Result<(Tensor, Tensor, Tensor)> {
    if value.dtype() != DType::F32 {
        candle_core::bail!("adam: {:?} on a CUDA device", value.dtype());
    }
    let new = || empty(value.shape(), DType::F32, value);
    let all = (new()?, new()?, new()?);
    let factors =
        [f.beta1, f.beta2, 1.0 - f.beta1, 1.0 - f.beta2, f.decay, f.stays, f.rate, f.root];
    let mut launch = Launch::plain(value.device(), MODULE, "adam")?;
    for tensor in [&all.0, &all.1, &all.2] {
        launch = launch.tensor(tensor)?;
    }
    for tensor in [value, gradient, m, v] {
        launch = launch.tensor(&tensor.contiguous()?)?;
    }
    let launch = launch.words(Words(factors.map(|v| (v as f32).to_bits())));
    launch.float(f.eps).long(value.elem_count()).threads(value.elem_count(), 1)?;
    Ok(all)
}
