//! One block of the text tower.

use super::config::TextConfig;
use crate::adapter::Linear;
use crate::error::Result;
use crate::param::Store;
use crate::pass::{LayerId, Pass};
use crate::vit::LayerNorm;
use candle_core::{D, Tensor};
use moa_kernels::activation::activate;

/// The linear layers, by timm's names.
pub(super) const LINEARS: [&str; 4] = ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"];

impl TextConfig {
    /// Inputs and outputs of [`LINEARS`].
    pub(super) fn linears(&self) -> [(usize, usize); 4] {
        let (dim, hidden) = (self.dim, self.mlp_hidden);
        [(dim, 3 * dim), (dim, dim), (dim, hidden), (hidden, dim)]
    }
}

/// A block whose tokens see only those before them.
#[derive(Clone, Debug)]
pub(super) struct Block {
    norms: [LayerNorm; 2],
    /// qkv, proj, fc1, fc2
    linears: [Linear; 4],
}

impl Block {
    pub(super) fn new(store: &mut Store, config: &TextConfig, i: usize) -> Result<Self> {
        let mut norm = |name: &str| {
            LayerNorm::new(store, &format!("blocks.{i}.{name}"), config.dim, config.norm_eps)
        };
        let norms = [norm("norm1")?, norm("norm2")?];
        let mut linear = |n: usize| {
            let id = LayerId { name: format!("blocks.{i}.{}", LINEARS[n]), number: 0 };
            Linear::new(store, id, config.linears()[n], true, None)
        };
        Ok(Self { norms, linears: [linear(0)?, linear(1)?, linear(2)?, linear(3)?] })
    }

    /// `[b, n, dim]` to the same. Few rows, once: plain tensor operations.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        config: &TextConfig,
        pass: &Pass<'_>,
    ) -> Result<Tensor> {
        let [qkv, proj, fc1, fc2] = &self.linears;
        let (b, n, dim) = x.dims3()?;
        let (heads, width) = (config.heads, dim / config.heads);
        let qkv = qkv.forward(&self.norms[0].forward(x, pass)?, pass)?;
        let qkv = qkv.reshape((b, n, 3, heads, width))?.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let (q, k, v) = (qkv.get(0)?, qkv.get(1)?, qkv.get(2)?);
        let scores = (q.matmul(&k.t()?)? / (width as f64).sqrt())?;
        // Of row i, what is behind column i.
        let hidden = |at: usize| if at % n > at / n { f32::NEG_INFINITY } else { 0.0 };
        let mask: Vec<f32> = (0..n * n).map(hidden).collect();
        let scores = scores.broadcast_add(&Tensor::from_vec(mask, (n, n), x.device())?)?;
        let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        let y = weights.matmul(&v)?.transpose(1, 2)?.contiguous()?.reshape((b, n, dim))?;
        let x = (x + proj.forward(&y, pass)?)?;
        let y = fc1.forward(&self.norms[1].forward(&x, pass)?, pass)?;
        let y = fc2.forward(&activate(&y, config.mlp.activation())?, pass)?;
        Ok((x + y)?)
    }
}
