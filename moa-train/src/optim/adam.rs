//! Adam and AdamW (PyTorch `torch.optim.Adam`, `AdamW`).

use super::Gradients;
use crate::config::{OptimConfig, OptimKind};
use anyhow::{Context, Result};
use candle_core::{Tensor, Var};
use moa_kernels::adam::{Item, Update};
use std::collections::BTreeMap;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// The optimiser's state: two moments per tensor, by name, and the step count.
pub struct Adam {
    kind: OptimKind,
    weight_decay: f64,
    /// Updates done.
    pub steps: u64,
    moments: BTreeMap<String, (Tensor, Tensor)>,
}

impl Adam {
    /// Moments of zero for every tensor.
    ///
    /// # Errors
    /// Only if memory runs out.
    pub fn new(config: &OptimConfig, tensors: &BTreeMap<String, Var>) -> Result<Self> {
        let mut moments = BTreeMap::new();
        for (name, var) in tensors {
            moments.insert(name.clone(), (var.zeros_like()?.detach(), var.zeros_like()?.detach()));
        }
        Ok(Self { kind: config.kind, weight_decay: config.weight_decay, steps: 0, moments })
    }

    /// One update of every tensor.
    ///
    /// # Errors
    /// If a gradient is missing.
    pub fn step(
        &mut self,
        tensors: &BTreeMap<String, Var>,
        gradients: &Gradients,
        lr: f64,
    ) -> Result<()> {
        let update = Update {
            lr,
            beta1: BETA1,
            beta2: BETA2,
            eps: EPS,
            weight_decay: self.weight_decay,
            decoupled: self.kind == OptimKind::Adamw,
            done: self.steps,
        };
        self.steps += 1;
        let mut items = Vec::with_capacity(tensors.len());
        for ((name, value), (named, (m, v))) in tensors.iter().zip(&mut self.moments) {
            anyhow::ensure!(name == named, "no state of `{name}`");
            let gradient =
                gradients.get(name).with_context(|| format!("no gradient of `{name}`"))?;
            items.push(Item { value, gradient, m, v });
        }
        Ok(update.apply(&mut items)?)
    }

    /// The state as tensors: `m.{name}` and `v.{name}`. The next step may change them.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let pair = |(name, (m, v)): (&String, &(Tensor, Tensor))| {
            [(format!("m.{name}"), m.clone()), (format!("v.{name}"), v.clone())]
        };
        self.moments.iter().flat_map(pair).collect()
    }

    /// Takes the state back.
    ///
    /// # Errors
    /// If a tensor is missing, extra or misshapen.
    pub fn restore(&mut self, mut tensors: BTreeMap<String, Tensor>, steps: u64) -> Result<()> {
        for (name, (m, v)) in &mut self.moments {
            for (slot, key) in [(m, format!("m.{name}")), (v, format!("v.{name}"))] {
                let found = tensors.remove(&key).with_context(|| format!("`{key}` is missing"))?;
                anyhow::ensure!(
                    found.dims() == slot.dims(),
                    "`{key}` has shape {:?}",
                    found.dims()
                );
                *slot = found.to_dtype(slot.dtype())?.to_device(slot.device())?;
            }
        }
        if let Some(extra) = tensors.keys().next() {
            anyhow::bail!("`{extra}` belongs to no tensor of this method");
        }
        self.steps = steps;
        Ok(())
    }
}
