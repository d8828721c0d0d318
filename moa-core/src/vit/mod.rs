//! One vision transformer for all backbones: CLIP (pre-norm, quick or exact
//! GELU), ViT and DeiT, DINOv2 (layer scale, registers, SwiGLU). Names and
//! computation are timm's `VisionTransformer`.

mod block;
mod embed;
mod model;
mod stream;

pub use block::Block;
pub use embed::Embed;
pub use model::{Stages, Tapped, Vit};

use stream::Stream;

use crate::error::Result;
use crate::param::{Param, Store};
use crate::pass::Pass;
use candle_core::Tensor;
use moa_kernels::frozen::Norm;

/// Layer normalisation with a learned scale and shift.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Param,
    bias: Param,
    eps: f64,
}

impl LayerNorm {
    /// Takes `{name}.weight` and `{name}.bias`.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn new(store: &mut Store, name: &str, dim: usize, eps: f64) -> Result<Self> {
        Ok(Self {
            weight: store.take(&format!("{name}.weight"), &[dim])?,
            bias: store.take(&format!("{name}.bias"), &[dim])?,
            eps,
        })
    }

    /// The same, frozen as it is now.
    fn pretrained(&self) -> Result<Self> {
        let (weight, bias) = (self.weight.pretrained()?, self.bias.pretrained()?);
        Ok(Self { weight, bias, eps: self.eps })
    }

    /// What [`moa_kernels::frozen`] takes, if nothing of it gets a gradient in `pass`.
    pub(crate) fn frozen(&self, pass: &Pass<'_>) -> Option<Norm> {
        let (weight, bias) = (self.weight.get(pass), self.bias.get(pass));
        let frozen = !weight.track_op() && !bias.track_op();
        frozen.then_some(Norm { weight, bias, eps: self.eps })
    }

    /// # Shapes
    /// `[..., dim]` to the same.
    ///
    /// # Errors
    /// If `x` has another width.
    pub fn forward(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let (weight, bias) = (self.weight.get(pass), self.bias.get(pass));
        Ok(moa_kernels::layer_norm::layer_norm(x, &weight, &bias, self.eps)?)
    }
}
