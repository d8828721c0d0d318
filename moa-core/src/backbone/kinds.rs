//! What sets one vision transformer apart from another.

use moa_kernels::activation::Activation;
use serde::{Deserialize, Serialize};

/// The layer between `mlp.fc1` and `mlp.fc2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MlpKind {
    /// `x Phi(x)` with the exact normal distribution (PyTorch `nn.GELU()`).
    Gelu,
    /// `x sigmoid(1.702 x)` (the CLIP models of OpenAI).
    QuickGelu,
    /// `silu(a) * b`, where `a` and `b` are the two halves of the output of `fc1`.
    #[serde(rename = "swiglu")]
    SwiGlu,
}

impl MlpKind {
    /// As the operation.
    pub fn activation(self) -> Activation {
        match self {
            MlpKind::Gelu => Activation::Gelu,
            MlpKind::QuickGelu => Activation::QuickGelu,
            MlpKind::SwiGlu => Activation::SwiGlu,
        }
    }
}

/// How tokens become one feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// The class token after the final `norm`.
    Cls,
    /// The mean of the patch tokens, then `fc_norm`; there is no `norm` (timm `global_pool="avg"`).
    Avg,
}

/// What the backbone's own classifier reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// The pooled feature.
    Pooled,
    /// The class token and the mean of the patch tokens (registers left out), side
    /// by side (transformers `Dinov2ForImageClassification`).
    ClsAndPatchMean,
}

impl HeadKind {
    /// Its inputs, for a token of width `dim`.
    pub fn width(self, dim: usize) -> usize {
        match self {
            HeadKind::Pooled => dim,
            HeadKind::ClsAndPatchMean => 2 * dim,
        }
    }
}
