//! Mean cross-entropy of class labels.

use crate::cpu::{Real, by_float, data, element, tensor, with_data};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// PyTorch `F.cross_entropy(logits, labels)`: the mean over the batch of
/// `-log softmax(logits)[label]`, as a scalar.
///
/// # Shapes
/// `logits` `[b, classes]`, `labels` of length `b`.
///
/// # Errors
/// If the batch is empty, the lengths differ, or a label is not a class.
pub fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let (batch, classes) = logits.dims2()?;
    if batch != labels.len() || batch == 0 {
        candle_core::bail!("cross_entropy: {batch} rows of logits, {} labels", labels.len());
    }
    if let Some(label) = labels.iter().find(|&&l| l as usize >= classes) {
        candle_core::bail!("cross_entropy: label {label} of only {classes} classes");
    }
    if crate::by_tensors(logits) {
        return crate::device::cross_entropy::cross_entropy(logits, labels);
    }
    crate::graph::apply1(&logits.contiguous()?, CrossEntropy { labels: labels.to_vec() })
}

struct CrossEntropy {
    labels: Vec<u32>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "moa-cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_float!(logits.dtype(), "cross_entropy", T => {
            let logits = data::<T>(logits, layout)?;
            let classes = logits.len() / self.labels.len();
            let total: f64 = logits
                .chunks_exact(classes)
                .zip(&self.labels)
                .map(|(row, &label)| log_sum_exp(row) - row[label as usize].to_f64())
                .sum();
            Ok(element(vec![(total / self.labels.len() as f64) as T], ()))
        })
    }

    fn bwd(&self, logits: &Tensor, _loss: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let upstream = grad.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        let share = upstream / self.labels.len() as f64;
        by_float!(logits.dtype(), "cross_entropy", T => with_data::<T, _>(logits, |values| {
            let classes = values.len() / self.labels.len();
            let mut grad = Vec::with_capacity(values.len());
            for (row, &label) in values.chunks_exact(classes).zip(&self.labels) {
                let norm = log_sum_exp(row);
                grad.extend(row.iter().enumerate().map(|(class, v)| {
                    let p = libm::exp(v.to_f64() - norm);
                    let hit = if class == label as usize { 1.0 } else { 0.0 };
                    ((p - hit) * share) as T
                }));
            }
            Ok(Some(tensor(grad, logits.shape(), logits)?))
        }))
    }
}

/// In `f64`: there are few logits, and the loss decides what is reported.
fn log_sum_exp<T: Real>(row: &[T]) -> f64 {
    let top = row.iter().map(|v| v.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    top + libm::log(row.iter().map(|v| libm::exp(v.to_f64() - top)).sum::<f64>())
}
