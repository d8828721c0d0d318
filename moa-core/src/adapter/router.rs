//! The router: scores every token against every expert (paper section 3).

use super::{AuxThreshold, RouterConfig, RouterKind};
use crate::error::Result;
use crate::param::{Param, Store};
use crate::pass::{LayerId, Pass};
use candle_core::Tensor;
use moa_kernels::router::{self, Choice, Noise};
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

    /// Calls `f` with the router's tensors and how scores become gates; `f` routes the tokens and
    /// computes with what comes of it. In training, adds noise and the balance loss.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn forward(
        &self,
        layer: &LayerId,
        pass: &Pass<'_>,
        f: impl FnOnce(&router::Router, &Choice) -> Result<(Tensor, Routing)>,
    ) -> Result<Tensor> {
        let router = match &self.weights {
            Weights::Linear { weight } => router::Router::Linear { weight: weight.get(pass) },
            Weights::Cosine { proj: (weight, bias), sim, temperature } => router::Router::Cosine {
                weight: weight.get(pass),
                bias: bias.as_ref().map(|b| b.get(pass)),
                sim: sim.get(pass),
                temperature: temperature.get(pass),
            },
        };
        let noise_std = self.config.noise / self.experts as f64;
        let noise = match pass.random {
            Some(random) if noise_std > 0.0 => random.noise(layer, noise_std)?,
            _ => Noise::Off,
        };
        let RouterConfig { top_k, renormalise, aux_weight, .. } = self.config;
        let gating = Gating { top_k, renormalise };
        let choice = Choice { gating, noise, indices: pass.choices(layer).cloned() };
        let (y, routing) = f(&router, &choice)?;
        let balance = match pass.random {
            Some(_) if aux_weight > 0.0 => Some(balance_loss(&routing, self.balance(noise_std))?),
            _ => None,
        };
        pass.routed(layer, &routing, balance);
        Ok(y)
    }

    fn balance(&self, noise_std: f64) -> Balance {
        let threshold = match self.config.aux_threshold {
            AuxThreshold::Kth => Threshold::Kth,
            AuxThreshold::Max => Threshold::Max,
        };
        Balance { weight: self.config.aux_weight, noise_std, threshold }
    }
}
