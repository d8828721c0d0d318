//! Loss and gradient at any values of what trains.
//!
//! Noise and dropout are off, and every token goes to the experts that it goes to at the values
//! that were trained: between two choices the loss has no derivative.

use crate::analysis::vector::norm;
use crate::host::{in_double, scalar};
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use moa_core::model::Classifier;
use moa_core::pass::Pass;
use moa_kernels::Tape;
use moa_kernels::cross_entropy::cross_entropy;
use std::collections::BTreeMap;

/// Images and their classes, as one forward pass takes them.
pub type Batch = (Tensor, Vec<u32>);

/// The mean cross-entropy of some images.
pub struct Objective {
    model: Classifier,
    batches: Vec<Batch>,
    /// For each batch the choices of every routed layer.
    choices: Vec<BTreeMap<String, Tensor>>,
    start: Vec<f64>,
}

impl Objective {
    /// Of a model whose trainable tensors have the values that were trained.
    ///
    /// # Errors
    /// If the model has no head.
    pub fn new(model: Classifier, batches: Vec<Batch>) -> Result<Self> {
        let mut choices = Vec::new();
        for (images, _) in &batches {
            let pass = Pass::eval().watching();
            model.logits(images, &pass)?.context("the model has no head")?;
            let chosen = pass.routings().into_iter().map(|(layer, r)| (layer.name, r.indices));
            choices.push(chosen.collect());
        }
        let mut start = Vec::new();
        for var in model.trainable().values() {
            start.extend(values(var.as_tensor())?);
        }
        Ok(Self { model, batches, choices, start })
    }

    /// The values that were trained: all trainable tensors in the order of their names.
    pub fn start(&self) -> &[f64] {
        &self.start
    }

    /// Name and shape of each trainable tensor, in the order of the values.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, Vec<usize>)> {
        self.model.trainable().iter().map(|(name, var)| (name.as_str(), var.dims().to_vec()))
    }

    /// Images behind the loss.
    pub fn images(&self) -> usize {
        self.batches.iter().map(|(_, labels)| labels.len()).sum()
    }

    fn set(&self, values: &[f64]) -> Result<()> {
        let mut from = 0;
        for var in self.model.trainable().values() {
            let next = from + var.elem_count();
            let tensor = Tensor::from_slice(&values[from..next], var.dims(), &Device::Cpu)?;
            var.set(&tensor.to_dtype(var.dtype())?.to_device(var.device())?)?;
            from = next;
        }
        Ok(())
    }

    /// The loss.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn loss(&self, at: &[f64]) -> Result<f64> {
        self.set(at)?;
        let mut sum = 0.0;
        for ((images, labels), choices) in self.batches.iter().zip(&self.choices) {
            let pass = Pass::eval().choosing(choices);
            let logits = self.model.logits(images, &pass)?.context("the model has no head")?;
            sum += scalar(&cross_entropy(&logits, labels)?)? * labels.len() as f64;
        }
        Ok(sum / self.images() as f64)
    }

    /// The gradient of the loss.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn gradient(&self, at: &[f64]) -> Result<Vec<f64>> {
        self.set(at)?;
        let mut sum = vec![0.0; at.len()];
        let all = self.images() as f64;
        for ((images, labels), choices) in self.batches.iter().zip(&self.choices) {
            let (pass, tape) = (Pass::eval().tracking().choosing(choices), Tape::start()?);
            let logits = self.model.logits(images, &pass)?.context("the model has no head")?;
            let share = labels.len() as f64 / all;
            let mut store = tape.backward(&(cross_entropy(&logits, labels)? * share)?)?;
            let mut from = 0;
            for var in self.model.trainable().values() {
                let next = from + var.elem_count();
                if let Some(gradient) = store.remove(var.as_tensor()) {
                    let found = values(&gradient)?;
                    sum[from..next].iter_mut().zip(found).for_each(|(sum, g)| *sum += g);
                }
                from = next;
            }
        }
        Ok(sum)
    }

    /// The second derivatives times `v`, by central differences of gradients.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn hessian_times(&self, v: &[f64]) -> Result<Vec<f64>> {
        let step = 1e-5 * norm(&self.start).max(1.0) / norm(v).max(f64::MIN_POSITIVE);
        let moved = |step: f64| -> Vec<f64> {
            self.start.iter().zip(v).map(|(x, v)| x + step * v).collect()
        };
        let (up, down) = (self.gradient(&moved(step))?, self.gradient(&moved(-step))?);
        Ok(up.iter().zip(down).map(|(a, b)| (a - b) / (2.0 * step)).collect())
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(in_double(tensor)?.flatten_all()?.to_vec1()?)
}
