//! The whole transformer.

use super::{Block, Embed, LayerNorm, Stream};
use crate::backbone::{Pool, VitConfig};
use crate::error::Result;
use crate::method::Method;
use crate::param::Store;
use crate::pass::Pass;
use candle_core::Tensor;
use std::collections::BTreeSet;
use std::ops::Range;

/// A vision transformer up to its pooled feature.
#[derive(Clone, Debug)]
pub struct Vit {
    /// The architecture.
    pub config: VitConfig,
    embed: Embed,
    norm_pre: Option<LayerNorm>,
    blocks: Vec<Block>,
    /// `norm` on all tokens, or with average pooling `fc_norm` on the mean.
    norm: LayerNorm,
}

/// What a forward pass computes on the way.
pub struct Stages {
    /// Input of the first block, `[b, n, dim]`.
    pub embedded: Tensor,
    /// Output of each block.
    pub blocks: Vec<Tensor>,
    /// After the final norm (with average pooling there is none).
    pub tokens: Tensor,
    /// The feature, `[b, dim]`.
    pub pooled: Tensor,
}

/// The pooled feature and what was asked for on the way to it.
pub struct Tapped {
    /// The projected patches, `[b, patches, dim]`, if asked for.
    pub patches: Option<Tensor>,
    /// What leaves the blocks that were named, `[b, n, dim]` each, in order.
    pub blocks: Vec<Tensor>,
    /// The feature, `[b, dim]`.
    pub pooled: Tensor,
}

impl Vit {
    /// Takes all tensors of the transformer from `store`.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn new(store: &mut Store, config: &VitConfig, method: &Method) -> Result<Self> {
        let norm = match config.pool {
            Pool::Cls => "norm",
            Pool::Avg => "fc_norm",
        };
        Ok(Self {
            embed: Embed::new(store, config)?,
            norm_pre: config
                .pre_norm
                .then(|| LayerNorm::new(store, "norm_pre", config.dim, config.norm_eps))
                .transpose()?,
            blocks: (0..config.depth)
                .map(|index| Block::new(store, config, method, index))
                .collect::<Result<_>>()?,
            norm: LayerNorm::new(store, norm, config.dim, config.norm_eps)?,
            config: config.clone(),
        })
    }

    /// The pooled feature.
    ///
    /// # Shapes
    /// `images` `[b, 3, h, w]` normalised; the result is `[b, dim]`.
    ///
    /// # Errors
    /// If the images are not of the size that the model was built for.
    pub fn forward(&self, images: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        self.finish(Stream::new(self.embedded(images, pass)?), 0, pass)
    }

    /// The same, with what leaves some blocks, and if `stem` the projected patches. It is
    /// part of the graph as the feature is.
    ///
    /// # Errors
    /// As [`Vit::forward`].
    pub fn tapped(
        &self,
        images: &Tensor,
        stem: bool,
        blocks: &BTreeSet<usize>,
        pass: &Pass<'_>,
    ) -> Result<Tapped> {
        let patches = self.embed.patches(images, pass)?;
        let stem = stem.then(|| patches.clone());
        let x = self.normed(self.embed.tokens(patches, pass)?, pass)?;
        let (mut x, mut next, mut taps) = (Stream::new(x), 0, Vec::new());
        for &block in blocks.range(..self.blocks.len()) {
            for block in &self.blocks[next..=block] {
                x = block.stream(x, pass)?; // all tokens, of the last one too
            }
            let out = x.settle()?;
            taps.push(out.clone());
            (x, next) = (Stream::new(out), block + 1);
        }
        Ok(Tapped { patches: stem, blocks: taps, pooled: self.finish(x, next, pass)? })
    }

    /// The transformer without adapters, frozen as it is now. What is frozen already is
    /// shared.
    ///
    /// # Errors
    /// Only if memory runs out.
    pub fn pretrained(&self) -> Result<Self> {
        Ok(Self {
            config: self.config.clone(),
            embed: self.embed.pretrained()?,
            norm_pre: self.norm_pre.as_ref().map(LayerNorm::pretrained).transpose()?,
            blocks: self.blocks.iter().map(Block::pretrained).collect::<Result<_>>()?,
            norm: self.norm.pretrained()?,
        })
    }

    /// The first part of [`Vit::forward`]: what enters block `block`, or the pooled
    /// feature if there is no such block.
    ///
    /// # Shapes
    /// `images` as there; the result is `[b, n, dim]`, or `[b, dim]` of the feature.
    ///
    /// # Errors
    /// As [`Vit::forward`].
    pub fn below(&self, images: &Tensor, block: usize, pass: &Pass<'_>) -> Result<Tensor> {
        let x = Stream::new(self.embedded(images, pass)?);
        match block < self.blocks.len() {
            true => self.through(x, 0..block, pass)?.settle(),
            false => self.finish(x, 0, pass),
        }
    }

    /// The second part: the pooled feature, `[b, dim]`, from what [`Vit::below`] gave for
    /// the same block.
    ///
    /// # Errors
    /// If `x` has another width.
    pub fn above(&self, x: &Tensor, block: usize, pass: &Pass<'_>) -> Result<Tensor> {
        match block < self.blocks.len() {
            true => self.finish(Stream::new(x.clone()), block, pass),
            false => Ok(x.clone()),
        }
    }

    /// From what enters block `first` to the pooled feature.
    fn finish(&self, x: Stream, first: usize, pass: &Pass<'_>) -> Result<Tensor> {
        let x = self.through(x, first..self.blocks.len(), pass)?.settle()?;
        match self.config.pool {
            Pool::Cls => self.norm.forward(&x.narrow(1, 0, 1)?.squeeze(1)?, pass),
            Pool::Avg => self.norm.forward(&self.patch_mean(&x)?, pass),
        }
    }

    fn through(&self, mut x: Stream, blocks: Range<usize>, pass: &Pass<'_>) -> Result<Stream> {
        // Of the last block, and its norm, only the class token is used.
        let class = (self.config.pool == Pool::Cls).then(|| self.blocks.len().saturating_sub(1));
        for i in blocks {
            x = match class == Some(i) {
                true => self.blocks[i].stream_class(x, pass)?,
                false => self.blocks[i].stream(x, pass)?,
            };
        }
        Ok(x)
    }

    /// The same with everything on the way.
    ///
    /// # Errors
    /// As [`Vit::forward`].
    pub fn stages(&self, images: &Tensor, pass: &Pass<'_>) -> Result<Stages> {
        let embedded = self.embedded(images, pass)?;
        let mut blocks: Vec<Tensor> = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            blocks.push(block.forward(blocks.last().unwrap_or(&embedded), pass)?);
        }
        let last = blocks.last().unwrap_or(&embedded);
        let (tokens, pooled) = match self.config.pool {
            Pool::Cls => {
                let tokens = self.norm.forward(last, pass)?;
                let pooled = tokens.narrow(1, 0, 1)?.squeeze(1)?;
                (tokens, pooled)
            }
            Pool::Avg => (last.clone(), self.norm.forward(&self.patch_mean(last)?, pass)?),
        };
        Ok(Stages { embedded, blocks, tokens, pooled })
    }

    fn embedded(&self, images: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        self.normed(self.embed.forward(images, pass)?, pass)
    }

    fn normed(&self, x: Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        match &self.norm_pre {
            Some(norm) => norm.forward(&x, pass),
            None => Ok(x),
        }
    }

    /// Mean over the patch tokens (class token and registers left out), `[b, dim]`.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn patch_mean(&self, tokens: &Tensor) -> Result<Tensor> {
        let prefix = 1 + self.config.registers;
        Ok(tokens.narrow(1, prefix, tokens.dim(1)? - prefix)?.mean(1)?)
    }

    /// Brings the weights of linear layers that do not train into the order in which products read them
    /// ([`moa_kernels::panels`]), where that is faster. What is computed stays the same, to the bit.
    ///
    /// # Errors
    /// Only if memory fails.
    pub fn set_in_panels(&mut self) -> Result<()> {
        self.blocks.iter_mut().try_for_each(Block::set_in_panels)
    }

    /// The blocks in order.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }
}
