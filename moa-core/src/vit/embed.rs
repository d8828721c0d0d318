//! From pixels to tokens.

use crate::backbone::VitConfig;
use crate::error::{Error, Result};
use crate::param::{Param, Store};
use crate::pass::Pass;
use candle_core::{DType, Tensor};

/// Patch projection, class and register tokens, position table.
#[derive(Clone, Debug)]
pub struct Embed {
    proj: (Param, Option<Param>),
    cls_token: Param,
    reg_token: Option<Param>,
    pos_embed: Param,
    pos_embed_prefix: usize,
    patch: usize,
    /// Of the tokens.
    dtype: DType,
}

impl Embed {
    /// Takes `patch_embed.proj`, `cls_token`, `reg_token` and `pos_embed`; the
    /// table must already have the size of `config.image_size`.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn new(store: &mut Store, config: &VitConfig) -> Result<Self> {
        let (dim, p) = (config.dim, config.patch_size);
        let (rows, cols) = config.grid();
        let slots = rows * cols + config.pos_embed_prefix;
        let registers = config.registers;
        Ok(Self {
            proj: (
                store.take("patch_embed.proj.weight", &[dim, 3, p, p])?,
                config
                    .patch_bias
                    .then(|| store.take("patch_embed.proj.bias", &[dim]))
                    .transpose()?,
            ),
            cls_token: store.take("cls_token", &[1, 1, dim])?,
            reg_token: (registers > 0)
                .then(|| store.take("reg_token", &[1, registers, dim]))
                .transpose()?,
            pos_embed: store.take("pos_embed", &[1, slots, dim])?,
            pos_embed_prefix: config.pos_embed_prefix,
            patch: p,
            dtype: store.dtype,
        })
    }

    /// The same, frozen as it is now.
    pub(super) fn pretrained(&self) -> Result<Self> {
        let frozen = |param: &Option<Param>| param.as_ref().map(Param::pretrained).transpose();
        Ok(Self {
            proj: (self.proj.0.pretrained()?, frozen(&self.proj.1)?),
            cls_token: self.cls_token.pretrained()?,
            reg_token: frozen(&self.reg_token)?,
            pos_embed: self.pos_embed.pretrained()?,
            ..*self
        })
    }

    /// The projected patches alone, `[b, patches, dim]`, row by row.
    ///
    /// # Errors
    /// As [`Embed::forward`].
    pub fn patches(&self, images: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let (weight, bias) = (&self.proj.0.get(pass), self.proj.1.as_ref().map(|b| b.get(pass)));
        let weight = weight.reshape((weight.dim(0)?, 3 * self.patch * self.patch))?;
        let pixels = self.unfold(images)?.to_dtype(self.dtype)?;
        Ok(moa_kernels::linear::linear(&pixels, &weight, bias.as_ref())?)
    }

    /// # Shapes
    /// `images` `[b, 3, h, w]`; the result is `[b, tokens, dim]`: class token,
    /// registers, patches row by row.
    ///
    /// # Errors
    /// If the images are not of the size that the model was built for.
    pub fn forward(&self, images: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        self.tokens(self.patches(images, pass)?, pass)
    }

    /// The same from the projected patches.
    pub(super) fn tokens(&self, patches: Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let (batch, _, dim) = patches.dims3()?;
        let own = |param: &Param| param.get(pass).to_dtype(self.dtype);
        let cls = own(&self.cls_token)?.expand((batch, 1, dim))?;
        let registers = match &self.reg_token {
            Some(reg) => {
                let reg = own(reg)?;
                Some(reg.expand((batch, reg.dim(1)?, dim))?)
            }
            None => None,
        };
        let pos = own(&self.pos_embed)?;
        // The table covers patches alone, class token and patches (registers then
        // stand between the two and get no position), or every token.
        let prefix = 1 + registers.as_ref().map_or(Ok(0), |r| r.dim(1))?;
        let tokens = match (self.pos_embed_prefix, registers) {
            (0, registers) => {
                let patches = patches.broadcast_add(&pos)?;
                join(&[Some(cls), registers, Some(patches)])?
            }
            (1, Some(registers)) if prefix > 1 => {
                let tokens = Tensor::cat(&[cls, patches], 1)?.broadcast_add(&pos)?;
                let (cls, patches) =
                    (tokens.narrow(1, 0, 1)?, tokens.narrow(1, 1, tokens.dim(1)? - 1)?);
                join(&[Some(cls), Some(registers), Some(patches)])?
            }
            (_, registers) => join(&[Some(cls), registers, Some(patches)])?.broadcast_add(&pos)?,
        };
        Ok(tokens.contiguous()?)
    }

    /// `[b, 3, h, w]` to one row of `3 p p` numbers per patch, in the order of a
    /// convolution's weight.
    fn unfold(&self, images: &Tensor) -> Result<Tensor> {
        let (b, c, h, w) = images.dims4()?;
        let p = self.patch;
        if c != 3 || h % p != 0 || w % p != 0 {
            return Err(Error::Input { found: (c, h, w), patch: p });
        }
        Ok(images.reshape((b, 3, h / p, p, w / p, p))?.permute((0, 2, 4, 1, 3, 5))?.reshape((
            b,
            h / p * (w / p),
            3 * p * p,
        ))?)
    }
}

fn join(parts: &[Option<Tensor>]) -> Result<Tensor> {
    let parts: Vec<&Tensor> = parts.iter().flatten().collect();
    Ok(Tensor::cat(&parts, 1)?)
}
