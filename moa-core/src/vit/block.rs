//! One transformer block.

use super::{LayerNorm, Stream};
use crate::adapter::{Adapter, Linear};
use crate::backbone::{MlpKind, VitConfig};
use crate::error::Result;
use crate::method::{LinearName, Method};
use crate::param::{Param, Store};
use crate::pass::{LayerId, Pass};
use candle_core::Tensor;
use moa_kernels::activation::activate;
use moa_kernels::attention::attention;
use moa_kernels::frozen::{Attention, Half, Mlp, norm_linear};
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

/// For how many tokens, the first, each half of the block is computed; if `None`, for all.
#[derive(Clone, Copy, Default)]
struct Wanted {
    attention: Option<usize>,
    mlp: Option<usize>,
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

    /// The block without adapters, frozen as it is now.
    pub(super) fn pretrained(&self) -> Result<Self> {
        let scale = |ls: &Option<Param>| ls.as_ref().map(Param::pretrained).transpose();
        Ok(Self {
            norm1: self.norm1.pretrained()?,
            qkv: self.qkv.pretrained()?,
            proj: self.proj.pretrained()?,
            ls1: scale(&self.ls1)?,
            norm2: self.norm2.pretrained()?,
            fc1: self.fc1.pretrained()?,
            fc2: self.fc2.pretrained()?,
            ls2: scale(&self.ls2)?,
            heads: self.heads,
            mlp: self.mlp,
        })
    }

    /// # Shapes
    /// `[b, n, dim]` to the same.
    ///
    /// # Errors
    /// If `x` has another width.
    pub fn forward(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        self.pass(Stream::new(x.clone()), Wanted::default(), pass)?.settle()
    }

    /// [`Block::forward`] of a stream.
    pub(super) fn stream(&self, x: Stream, pass: &Pass<'_>) -> Result<Stream> {
        self.pass(x, Wanted::default(), pass)
    }

    /// The same for the last block, of which only the class token is wanted, the first of
    /// the result. If a router's choices for other tokens count, in its balance or because
    /// somebody looks, all are computed up to that router.
    pub(super) fn stream_class(&self, x: Stream, pass: &Pass<'_>) -> Result<Stream> {
        let heeded = |linear: &Linear| linear.is_routed() && pass.heeds_routers();
        let mlp = (!heeded(&self.fc1) && !heeded(&self.fc2)).then_some(1);
        self.pass(x, Wanted { attention: mlp.filter(|_| !heeded(&self.proj)), mlp }, pass)
    }

    fn pass(&self, x: Stream, wanted: Wanted, pass: &Pass<'_>) -> Result<Stream> {
        let x = self.pass_attention(x, wanted.attention, pass)?;
        match wanted.mlp {
            Some(count) if wanted.attention.is_none() => {
                let x = x.settle()?.narrow(1, 0, count)?.contiguous()?;
                self.pass_mlp(Stream::new(x), pass)
            }
            _ => self.pass_mlp(x, pass),
        }
    }

    fn pass_attention(
        &self,
        mut x: Stream,
        queries: Option<usize>,
        pass: &Pass<'_>,
    ) -> Result<Stream> {
        let (heads, gamma) = (self.heads, self.ls1.as_ref().map(|ls| ls.get(pass)));
        let way_in = self.norm1.frozen(pass).zip(self.qkv.frozen(pass));
        let proj = self.proj.frozen(pass).filter(|_| frozen(&gamma));
        if let (Some(qkv), Some(proj)) = (&way_in, &proj) {
            let (qkv, proj) = (Some(qkv.clone()), proj.clone());
            x.push(Half::Attention(Attention { qkv, heads, proj, gamma, queries }));
            return Ok(x);
        }
        let x = x.settle()?;
        let qkv = match way_in {
            Some((norm, qkv)) => norm_linear(&x, norm, qkv)?,
            None => self.qkv.forward(&self.norm1.forward(&x, pass)?, pass)?,
        };
        if let Some(proj) = proj {
            let half = Half::Attention(Attention { qkv: None, heads, proj, gamma, queries });
            return Ok(Stream::with_qkv(x, qkv, half));
        }
        let queries = queries.unwrap_or(x.dim(1)?);
        let y = self.proj.forward(&attention(&qkv, heads, queries)?, pass)?;
        let x = x.narrow(1, 0, queries)?.contiguous()?;
        Ok(Stream::new(residual(&x, &y, gamma.as_ref())?))
    }

    fn pass_mlp(&self, mut x: Stream, pass: &Pass<'_>) -> Result<Stream> {
        let gamma = self.ls2.as_ref().map(|ls| ls.get(pass));
        if let Some(mlp) = self.frozen_mlp(&gamma, pass) {
            x.push(Half::Mlp(mlp));
            return Ok(x);
        }
        let x = x.settle()?;
        let y = self.fc1.forward(&self.norm2.forward(&x, pass)?, pass)?;
        let y = self.fc2.forward(&activate(&y, self.mlp.activation())?, pass)?;
        Ok(Stream::new(residual(&x, &y, gamma.as_ref())?))
    }

    fn frozen_mlp(&self, gamma: &Option<Tensor>, pass: &Pass<'_>) -> Option<Mlp> {
        Some(Mlp {
            norm: self.norm2.frozen(pass)?,
            fc1: self.fc1.frozen(pass)?,
            activation: self.mlp.activation(),
            fc2: self.fc2.frozen(pass).filter(|_| frozen(gamma))?,
            gamma: gamma.clone(),
            recompute: pass.recomputes(),
        })
    }

    /// See [`super::Vit::set_in_panels`].
    pub(super) fn set_in_panels(&mut self) -> Result<()> {
        let linears = [&mut self.qkv, &mut self.proj, &mut self.fc1, &mut self.fc2];
        linears.into_iter().try_for_each(Linear::set_in_panels)
    }

    /// The four linear layers.
    pub fn linears(&self) -> [&Linear; 4] {
        [&self.qkv, &self.proj, &self.fc1, &self.fc2]
    }
}

fn frozen(scale: &Option<Tensor>) -> bool {
    !scale.as_ref().is_some_and(Tensor::track_op)
}
