//! A whole router: from tokens to the experts that each goes to.

use super::{cosine_scores, project};
use crate::device::routed as joint;
use crate::rng::Key;
use crate::routing::{Gating, Routing, router_noise};
use candle_core::{DType, Result, Tensor};

/// The tensors of a router; see [`project`] and [`cosine_scores`].
#[derive(Clone, Debug)]
pub enum Router {
    /// Scores are a projection.
    Linear {
        /// `[experts, in]`
        weight: Tensor,
    },
    /// Scores are scaled cosines of a projection with the experts' directions.
    Cosine {
        /// `[p, in]`
        weight: Tensor,
        /// `[p]`
        bias: Option<Tensor>,
        /// `[p, experts]`
        sim: Tensor,
        /// `[1]`
        temperature: Tensor,
    },
}

/// Noise on the scores.
#[derive(Clone, Debug)]
pub enum Noise {
    /// None.
    Off,
    /// See [`router_noise`].
    Seeded {
        /// What the numbers depend on,
        key: Key,
        /// and the layer.
        layer: u16,
        /// Standard deviation.
        std: f64,
    },
    /// `[tokens, experts]`
    Given(Tensor),
}

/// How scores become gates.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The rule.
    pub gating: Gating,
    /// Not used if the experts are given.
    pub noise: Noise,
    /// The experts of another time: see [`Routing::chosen`].
    pub indices: Option<Tensor>,
}

impl Router {
    /// Number of experts.
    ///
    /// # Errors
    /// If a tensor is no matrix.
    pub fn experts(&self) -> Result<usize> {
        match self {
            Self::Linear { weight } => weight.dim(0),
            Self::Cosine { sim, .. } => sim.dim(1),
        }
    }

    /// Routes tokens `[..., in]`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn route(&self, x: &Tensor, choice: &Choice) -> Result<Routing> {
        if joint::takes(x, Some(self), None) {
            return joint::route(x, self, choice);
        }
        self.step_by_step(x, None, choice)
    }

    /// The same, each step an operation of its own. `downs` are those of LoRA experts side by
    /// side: see [`project`].
    pub(crate) fn step_by_step(
        &self,
        x: &Tensor,
        downs: Option<&Tensor>,
        choice: &Choice,
    ) -> Result<Routing> {
        let (scores, shared) = match self {
            Self::Linear { weight } => {
                let (scores, shared) = project(x, weight, None, downs)?;
                let scores = scores.reshape(((), weight.dim(0)?))?;
                // As the cosine router's, whatever the type of the tokens.
                let half = matches!(scores.dtype(), DType::F16 | DType::BF16);
                (if half { scores.to_dtype(DType::F32)? } else { scores }, shared)
            }
            Self::Cosine { weight, bias, sim, temperature } => {
                let (z, shared) = project(x, weight, bias.as_ref(), downs)?;
                (cosine_scores(&z, sim, temperature)?, shared)
            }
        };
        let routing = match &choice.indices {
            Some(indices) => Routing::chosen(&scores, indices, choice.gating)?,
            None => {
                let noise = choice.noise.tensor(scores.dims2()?, &scores)?;
                Routing::new(&scores, noise.as_ref(), choice.gating)?
            }
        };
        Ok(routing.sharing(shared))
    }
}

impl Noise {
    /// Of the type of `like` and on its device.
    pub(crate) fn tensor(&self, shape: (usize, usize), like: &Tensor) -> Result<Option<Tensor>> {
        let (dtype, device): (DType, _) = (like.dtype(), like.device());
        Ok(match self {
            Self::Off => None,
            Self::Given(noise) => Some(noise.to_dtype(dtype)?),
            Self::Seeded { key, layer, std } => {
                Some(router_noise(*key, *layer, shape, *std, dtype, device)?)
            }
        })
    }
}
