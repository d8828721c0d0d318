//! `adam.cu`.

use super::launch::{Launch, TENSORS, Words, empty, widest};
use crate::adam::{Factors, Item};
use candle_core::{DType, Device, Result, Tensor};

const MODULE: (&str, &str) = ("moa-adam", super::ptx::ADAM);

/// Updates values and moments where they are; all tensors are `f32`.
pub fn apply(f: Factors, items: &[Item<'_>]) -> Result<()> {
    let factors =
        [f.beta1, f.beta2, 1.0 - f.beta1, 1.0 - f.beta2, f.decay, f.stays, f.rate, f.root];
    for items in items.chunks(TENSORS) {
        if let Some(other) = items.iter().find(|item| item.value.dtype() != DType::F32) {
            candle_core::bail!("adam: {:?} on a device", other.value.dtype());
        }
        let values = || items.iter().map(|item| item.value.as_tensor());
        let gradients = items.iter().map(|item| item.gradient.contiguous());
        let gradients = gradients.collect::<Result<Vec<_>>>()?;
        let launch = Launch::plain(items[0].value.device(), MODULE, "adam")?;
        let launch = launch.table(values())?.table(gradients.iter())?;
        let launch = launch.table(items.iter().map(|item| &*item.m))?;
        let launch = launch
            .table(items.iter().map(|item| &*item.v))?
            .counts(values().map(Tensor::elem_count));
        let launch = launch.words(Words(factors.map(|v| (v as f32).to_bits()))).float(f.eps);
        let most = values().map(Tensor::elem_count).max().unwrap_or(0);
        launch.threads(most, items.len())?;
    }
    Ok(())
}

/// The sum of squares of each tensor; all are `f32`.
pub fn squares(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    // Where there are no floats of double precision, a sum is two of single.
    let (wide, parts) = match widest(tensors[0]) {
        DType::F64 => (DType::F64, 1),
        other => (other, 2),
    };
    let sums = empty((tensors.len(), parts), wide, tensors[0])?;
    for (i, tensors) in tensors.chunks(TENSORS).enumerate() {
        let whole = tensors.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
        let to = sums.narrow(0, i * TENSORS, tensors.len())?;
        let launch = Launch::plain(sums.device(), MODULE, "squares")?.tensor(&to)?;
        let launch = launch.table(whole.iter())?.counts(whole.iter().map(Tensor::elem_count));
        launch.blocks((1, tensors.len() as u32, 1), 256)?;
    }
    let sums = sums.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    sums.sum(1)?.to_vec1()
}
