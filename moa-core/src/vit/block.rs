//! One transformer block.

use super::LayerNorm;
use crate::adapter::{Adapter, Linear};
use crate::backbone::{MlpKind, VitConfig};
use crate::error::Result;
use crate::method::{LinearName, Method};
use crate::param::{Param, Store};
use crate::pass::{LayerId, Pass};
use candle_core::Tensor;
use moa_kernels::activation::activate;
use moa_kernels::attention::attention;
use moa_kernels::frozen::{MlpBlock, attention_block, mlp_block, norm_linear};
use moa_kernels::residual::residual;

/// `x + ls1 * proj(attention(qkv(norm1 x)))`, then `x + ls2 * mlp(norm2 x)`.
#[derive(Clone, Debug)]
pub struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    ls1: Option<Param>,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    ls2: Option<Param>,
    heads: usize,
    mlp: MlpKind,
}

impl Block {
    /// Takes `blocks.{index}.*`; `method` says which linears carry an adapter.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn new(
        store: &mut Store,
        config: &VitConfig,
        method: &Method,
        index: usize,
    ) -> Result<Self> {
        let (dim, name) = (config.dim, format!("blocks.{index}"));
        let linear = |store: &mut Store, which: LinearName, bias: bool| {
            let id = LayerId { name: which.path(index), number: which.number(index) };
            let sizes = which.sizes(config);
            let adapter = match &method.adapter {
                Some(adapter) if method.adapts(which, index, config.depth) => {
                    let router = method.router.as_ref();
                    Some(Adapter::new(store, &id.name, sizes, adapter, router)?)
                }
                _ => None,
            };
            Linear::new(store, id, sizes, bias, adapter)
        };
        let qkv = linear(store, LinearName::Qkv, config.qkv_bias)?;
        let proj = linear(store, LinearName::Proj, true)?;
        let fc1 = linear(store, LinearName::Fc1, true)?;
        let fc2 = linear(store, LinearName::Fc2, true)?;
        let mut scale = |name: &str| match config.layer_scale {
            true => store.take(&format!("{name}.gamma"), &[dim]).map(Some),
            false => Ok(None),
        };
        let (ls1, ls2) = (scale(&format!("{name}.ls1"))?, scale(&format!("{name}.ls2"))?);
        Ok(Self {
            norm1: LayerNorm::new(store, &format!("{name}.norm1"), dim, config.norm_eps)?,
            qkv,
            proj,
            ls1,
            norm2: LayerNorm::new(store, &format!("{name}.norm2"), dim, config.norm_eps)?,
            fc1,
            fc2,
            ls2,
            heads: config.heads,
            mlp: config.mlp,
        })
    }

    /// # Shapes
    /// `[b, n, dim]` to the same.
    ///
    /// # Errors
    /// If `x` has another width.
    pub fn forward(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        self.first(x, x.dim(1)?, pass)
    }

    /// [`Block::forward`] of the class token alone, `[b, 1, dim]`: for the last block.
    /// Where a router sees more tokens than the class token, their balance counts, and
    /// all are computed.
    ///
    /// # Errors
    /// As [`Block::forward`].
    pub fn forward_class(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        if [&self.proj, &self.fc1, &self.fc2].iter().any(|linear| linear.is_routed()) {
            return Ok(self.forward(x, pass)?.narrow(1, 0, 1)?);
        }
        self.first(x, 1, pass)
    }

    /// The first `queries` tokens of the result.
    fn first(&self, x: &Tensor, queries: usize, pass: &Pass<'_>) -> Result<Tensor> {
        let [ls1, ls2] = [&self.ls1, &self.ls2].map(|ls| ls.as_ref().map(|ls| ls.get(pass)));
        // What is frozen is one operation, which keeps less for the backward pass.
        let qkv = match (self.norm1.frozen(pass), self.qkv.frozen(pass)) {
            (Some(norm), Some(qkv)) => norm_linear(x, norm, qkv)?,
            _ => self.qkv.forward(&self.norm1.forward(x, pass)?, pass)?,
        };
        let x = x.narrow(1, 0, queries)?.contiguous()?;
        let x = match self.proj.frozen(pass).filter(|_| frozen(&ls1)) {
            Some(proj) => attention_block(&x, &qkv, self.heads, proj, ls1)?,
            None => {
                let y = self.proj.forward(&attention(&qkv, self.heads, queries)?, pass)?;
                residual(&x, &y, ls1.as_ref())?
            }
        };
        if let Some(parts) = self.frozen_mlp(&ls2, pass) {
            return Ok(mlp_block(&x, parts)?);
        }
        let y = self.fc1.forward(&self.norm2.forward(&x, pass)?, pass)?;
        let y = self.fc2.forward(&activate(&y, self.mlp.activation())?, pass)?;
        Ok(residual(&x, &y, ls2.as_ref())?)
    }

    fn frozen_mlp(&self, ls2: &Option<Tensor>, pass: &Pass<'_>) -> Option<MlpBlock> {
        Some(MlpBlock {
            norm: self.norm2.frozen(pass)?,
            fc1: self.fc1.frozen(pass)?,
            activation: self.mlp.activation(),
            fc2: self.fc2.frozen(pass).filter(|_| frozen(ls2))?,
            gamma: ls2.clone(),
            recompute: pass.recomputes(),
        })
    }

    /// The four linear layers.
    pub fn linears(&self) -> [&Linear; 4] {
        [&self.qkv, &self.proj, &self.fc1, &self.fc2]
    }
}

fn frozen(scale: &Option<Tensor>) -> bool {
    !scale.as_ref().is_some_and(Tensor::track_op)
}
