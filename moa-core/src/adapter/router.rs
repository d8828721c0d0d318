//! The router: scores every token against every expert (paper section 3).

use super::{AuxThreshold, RouterConfig, RouterKind};
use crate::error::Result;
use crate::param::{Param, Store};
use crate::pass::{LayerId, Pass};
use candle_core::Tensor;
use moa_kernels::router::{cosine_scores, project};
use moa_kernels::routing::{Balance, Gating, Routing, Threshold, balance_loss};

/// Scores tokens and chooses experts.
#[derive(Clone, Debug)]
pub struct Router {
    weights: Weights,
    config: RouterConfig,
    experts: usize,
}

#[derive(Clone, Debug)]
enum Weights {
    Linear { weight: Param },
    Cosine { proj: (Param, Option<Param>), sim: Param, temperature: Param },
}

impl Router {
    /// Takes `{prefix}.router.*` from `store`.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn new(
        store: &mut Store,
        prefix: &str,
        width: usize,
        experts: usize,
        config: &RouterConfig,
    ) -> Result<Self> {
        let mut take =
            |name: &str, shape: &[usize]| store.take(&format!("{prefix}.router.{name}"), shape);
        let weights = match config.kind {
            RouterKind::Linear => Weights::Linear { weight: take("weight", &[experts, width])? },
            RouterKind::Cosine => Weights::Cosine {
                proj: (
                    take("proj.weight", &[config.dim, width])?,
                    config.bias.then(|| take("proj.bias", &[config.dim])).transpose()?,
                ),
                sim: take("sim", &[config.dim, experts])?,
                temperature: take("temperature", &[1])?,
            },
        };
        Ok(Self { weights, config: config.clone(), experts })
    }

    /// Routes tokens `[..., in]`; in training, adds noise and the balance loss. `downs` are
    /// those of LoRA experts side by side, whose products with the tokens come along.
    ///
    /// # Errors
    /// If the tokens have another width.
    pub fn forward(
        &self,
        x: &Tensor,
        downs: Option<&Tensor>,
        layer: &LayerId,
        pass: &Pass<'_>,
    ) -> Result<Routing> {
        let (scores, shared) = match &self.weights {
            Weights::Linear { weight } => {
                let (scores, shared) = project(x, &weight.get(pass), None, downs)?;
                (scores.reshape(((), self.experts))?, shared)
            }
            Weights::Cosine { proj: (weight, bias), sim, temperature } => {
                let bias = bias.as_ref().map(|b| b.get(pass));
                let (z, shared) = project(x, &weight.get(pass), bias.as_ref(), downs)?;
                (cosine_scores(&z, &sim.get(pass), &temperature.get(pass))?, shared)
            }
        };
        let noise_std = self.config.noise / self.experts as f64;
        let noise = match pass.random {
            Some(random) if noise_std > 0.0 => {
                let shape = (scores.dim(0)?, self.experts);
                random.noise(layer, shape, noise_std, scores.dtype(), scores.device())?
            }
            _ => None,
        };
        let RouterConfig { top_k, renormalise, aux_weight, .. } = self.config;
        let gating = Gating { top_k, renormalise };
        let routing = match pass.choices(layer) {
            Some(indices) => Routing::chosen(&scores, indices, gating)?,
            None => Routing::new(&scores, noise.as_ref(), gating)?,
        };
        let routing = routing.sharing(shared);
        let balance = match pass.random {
            Some(_) if aux_weight > 0.0 => Some(balance_loss(&routing, self.balance(noise_std))?),
            _ => None,
        };
        pass.routed(layer, &routing, balance);
        Ok(routing)
    }

    fn balance(&self, noise_std: f64) -> Balance {
        let threshold = match self.config.aux_threshold {
            AuxThreshold::Kth => Threshold::Kth,
            AuxThreshold::Max => Threshold::Max,
        };
        Balance { weight: self.config.aux_weight, noise_std, threshold }
    }
}
