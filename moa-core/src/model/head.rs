//! The linear classification head.

use crate::error::Result;
use crate::param::{Param, Store};
use crate::pass::Pass;
use candle_core::Tensor;
use moa_kernels::{dropout::dropout, linear::linear};

/// What a head reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadInput {
    /// The pooled feature.
    Pooled,
    /// Class token and mean of the patch tokens, side by side (transformers
    /// `Dinov2ForImageClassification`).
    ClsAndPatchMean,
}

/// `logits = W feature + b`.
#[derive(Clone, Debug)]
pub struct Head {
    weight: Param,
    bias: Param,
    /// What it reads.
    pub input: HeadInput,
    /// Probability of dropout in front of it in training.
    pub dropout: f64,
}

impl Head {
    /// Takes `head.weight` `[classes, dim]` and `head.bias`.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn new(
        store: &mut Store,
        (classes, dim): (usize, usize),
        input: HeadInput,
        dropout: f64,
    ) -> Result<Self> {
        let width = match input {
            HeadInput::Pooled => dim,
            HeadInput::ClsAndPatchMean => 2 * dim,
        };
        Ok(Self {
            weight: store.take("head.weight", &[classes, width])?,
            bias: store.take("head.bias", &[classes])?,
            input,
            dropout,
        })
    }

    /// # Shapes
    /// `feature` `[b, width]`; the result is `[b, classes]`.
    ///
    /// # Errors
    /// If the feature has another width.
    pub fn forward(&self, feature: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let weight = self.weight.get(pass);
        let feature = &feature.to_dtype(weight.dtype())?;
        let feature = match pass.random {
            Some(random) => dropout(feature, self.dropout, random.head())?,
            None => feature.clone(),
        };
        Ok(linear(&feature, &weight, Some(&self.bias.get(pass)))?)
    }

    /// Weight and bias.
    pub fn tensors(&self) -> (Tensor, Tensor) {
        (self.weight.value(), self.bias.value())
    }
}
