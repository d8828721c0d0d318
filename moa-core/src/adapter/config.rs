//! Adapters and routers as data.

use serde::{Deserialize, Serialize};

/// What an expert is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdapterKind {
    /// Low rank: `U D x`.
    Lora,
    /// A sum of Kronecker products with shared outer factors ("KAdaptation").
    Kronecker,
    /// A bottleneck behind the layer, of sums of Kronecker products ("Compacter").
    Compacter,
}

/// What a bottleneck does to its narrow part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bend {
    /// `x Phi(x)`.
    #[default]
    Gelu,
    /// Nothing: the bottleneck is linear, and can be merged.
    None,
}

/// The experts of one adapted layer (table `[method.adapter]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterConfig {
    /// `lora`, `kronecker` or `compacter`.
    pub kind: AdapterKind,
    /// One expert per entry: its rank (LoRA) or its inner rank (Kronecker). More
    /// than one needs a router. Of Compacter the width of its bottleneck.
    pub ranks: Vec<usize>,
    /// Factor of the experts' output; `alpha / r` for a PEFT LoRA.
    #[serde(default = "one")]
    pub scale: f64,
    /// A trainable bias that every token gets, whatever its expert.
    #[serde(default)]
    pub bias: bool,
    /// Kronecker, Compacter: size of the outer factors; it must divide both widths.
    #[serde(default = "sixty_four")]
    pub t: usize,
    /// Kronecker: probability that an entry of the delta is dropped in a
    /// training step (DropConnect).
    #[serde(default)]
    pub dropout: f64,
    /// Kronecker: probability that one of the inner ranks of a factor, `t` times the
    /// expert's rank of them, is dropped in a training step (PEFT LoKr's
    /// `rank_dropout`): much cheaper than entry by entry.
    #[serde(default)]
    pub rank_dropout: f64,
    /// Compacter: what its bottleneck does in the middle.
    #[serde(default)]
    pub activation: Bend,
}

/// How scores are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterKind {
    /// Cosine of a projection with one direction per expert, times a learned scale.
    #[default]
    Cosine,
    /// One linear layer without bias.
    Linear,
}

/// Which gate the load of the balance loss compares with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuxThreshold {
    /// The smallest chosen one.
    #[default]
    Kth,
    /// The largest.
    Max,
}

/// The router of a mixture (table `[method.router]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouterConfig {
    /// `cosine` or `linear`.
    pub kind: RouterKind,
    /// Cosine: width of the projection.
    pub dim: usize,
    /// Cosine: whether the projection has a bias.
    pub bias: bool,
    /// Experts per token.
    pub top_k: usize,
    /// Divide the chosen gates by their sum.
    pub renormalise: bool,
    /// Noise on the scores in training: its deviation is this over the number of experts.
    pub noise: f64,
    /// Factor of the balance loss.
    pub aux_weight: f64,
    /// `kth` or `max`.
    pub aux_threshold: AuxThreshold,
    /// Cosine: initial scale of the scores is `exp(temperature)`, at most 100.
    pub temperature: f64,
}

impl Default for RouterConfig {
    /// The paper's router.
    fn default() -> Self {
        Self {
            kind: RouterKind::Cosine,
            dim: 256,
            bias: true,
            top_k: 1,
            renormalise: false,
            noise: 1.0,
            aux_weight: 0.01,
            aux_threshold: AuxThreshold::Kth,
            temperature: std::f64::consts::LN_2,
        }
    }
}

fn one() -> f64 {
    1.0
}

fn sixty_four() -> usize {
    64
}
