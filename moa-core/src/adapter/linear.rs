//! A linear layer of the transformer, with or without an adapter.

use super::experts::Base;
use super::{AdapterConfig, AdapterKind, Compacter, Experts, Router, RouterConfig};
use crate::error::Result;
use crate::param::{Param, Store};
use crate::pass::{LayerId, Pass};
use candle_core::Tensor;
use moa_kernels::frozen::Dense;
use moa_kernels::panels::{in_panels, in_rows};

/// `y = x W^T + b`, plus what the adapter adds.
#[derive(Clone, Debug)]
pub struct Linear {
    id: LayerId,
    weight: Param,
    bias: Option<Param>,
    adapter: Option<Adapter>,
}

/// The trainable part of an adapted layer.
#[derive(Clone, Debug)]
pub enum Adapter {
    /// Beside the frozen weight.
    Beside(Beside),
    /// Behind the layer.
    Behind(Compacter),
}

/// Experts beside a frozen weight.
#[derive(Clone, Debug)]
pub struct Beside {
    router: Option<Router>,
    experts: Experts,
    bias: Option<Param>,
    scale: f64,
}

impl Adapter {
    /// Takes the adapter of the layer `prefix` from `store`.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn new(
        store: &mut Store,
        prefix: &str,
        sizes: (usize, usize),
        config: &AdapterConfig,
        router: Option<&RouterConfig>,
    ) -> Result<Self> {
        if config.kind == AdapterKind::Compacter {
            return Ok(Self::Behind(Compacter::new(store, prefix, sizes.1, config)?));
        }
        let experts = config.ranks.len();
        Ok(Self::Beside(Beside {
            router: router
                .map(|router| Router::new(store, prefix, sizes.0, experts, router))
                .transpose()?,
            experts: Experts::new(store, prefix, sizes, config)?,
            bias: config
                .bias
                .then(|| store.take(&format!("{prefix}.adapter_bias"), &[sizes.1]))
                .transpose()?,
            scale: config.scale,
        }))
    }
}

impl Linear {
    /// Takes `{name}.weight` `[out, in]` and, if it has one, `{name}.bias`.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn new(
        store: &mut Store,
        id: LayerId,
        (width, out): (usize, usize),
        bias: bool,
        adapter: Option<Adapter>,
    ) -> Result<Self> {
        let weight = store.take(&format!("{}.weight", id.name), &[out, width])?;
        let bias = bias.then(|| store.take(&format!("{}.bias", id.name), &[out])).transpose()?;
        Ok(Self { id, weight, bias, adapter })
    }

    /// # Shapes
    /// `x` `[..., in]`; the result is `[..., out]`.
    ///
    /// # Errors
    /// If `x` has another width.
    pub fn forward(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let (weight, bias) = (self.weight.get(pass), self.bias.as_ref().map(|b| b.get(pass)));
        let adapter = match &self.adapter {
            Some(Adapter::Beside(adapter)) => adapter,
            behind => {
                let h = moa_kernels::linear::linear(x, &weight, bias.as_ref())?;
                return match behind {
                    Some(Adapter::Behind(compacter)) => compacter.forward(&h, pass),
                    _ => Ok(h),
                };
            }
        };
        let extra = adapter.bias.as_ref().map(|b| b.get(pass));
        let base = Base { x, weight, bias, extra, scale: adapter.scale };
        adapter.experts.forward(base, adapter.router.as_ref(), &self.id, pass)
    }

    /// The layer without its adapter, frozen as it is now.
    pub(crate) fn pretrained(&self) -> Result<Self> {
        let bias = self.bias.as_ref().map(Param::pretrained).transpose()?;
        Ok(Self { id: self.id.clone(), weight: self.weight.pretrained()?, bias, adapter: None })
    }

    /// What [`moa_kernels::frozen`] takes, if there is no adapter and nothing of the
    /// layer gets a gradient in `pass`.
    pub(crate) fn frozen(&self, pass: &Pass<'_>) -> Option<Dense> {
        let (weight, bias) = (self.weight.get(pass), self.bias.as_ref().map(|b| b.get(pass)));
        let tracked = weight.track_op() || bias.as_ref().is_some_and(Tensor::track_op);
        (self.is_plain() && !tracked).then_some(Dense { weight, bias })
    }

    /// Brings the weight of a layer that does not train into the order of
    /// [`moa_kernels::panels`], if products are faster then.
    ///
    /// # Errors
    /// Only if memory fails.
    pub(crate) fn set_in_panels(&mut self) -> Result<()> {
        if let Param::Frozen(weight) = &mut self.weight
            && let Some(panels) = in_panels(weight)?
        {
            *weight = panels;
        }
        Ok(())
    }

    /// The layer's name in checkpoints.
    pub fn name(&self) -> &str {
        &self.id.name
    }

    /// True if there is no adapter.
    pub fn is_plain(&self) -> bool {
        self.adapter.is_none()
    }

    /// True if tokens choose between experts, so that no single matrix does the same.
    pub fn is_routed(&self) -> bool {
        matches!(&self.adapter, Some(Adapter::Beside(adapter)) if adapter.router.is_some())
    }

    /// Weight and bias of a plain linear layer that computes the same. A layer
    /// without bias gets one if the adapter has one. `None` if no plain layer does: tokens choose
    /// between experts, or a bottleneck is not linear.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn merged(&self) -> Result<Option<(Tensor, Option<Tensor>)>> {
        let (mut weight, bias) =
            (in_rows(&self.weight.value())?, self.bias.as_ref().map(Param::value));
        let adapter = match &self.adapter {
            None => return Ok(Some((weight, bias))),
            Some(Adapter::Behind(compacter)) => return compacter.merged(&weight, bias.as_ref()),
            Some(Adapter::Beside(_)) if self.is_routed() => return Ok(None),
            Some(Adapter::Beside(adapter)) => adapter,
        };
        weight = (weight + adapter.experts.delta(adapter.scale)?)?;
        let bias = match (bias, adapter.bias.as_ref().map(Param::value)) {
            (Some(own), Some(extra)) => Some((own + extra)?),
            (own, extra) => own.or(extra),
        };
        Ok(Some((weight, bias)))
    }
}
