//! The text tower.

use super::block::{Block, LINEARS};
use super::config::{TextConfig, TextPool, no_tower};
use crate::backbone::{Backbone, NameMap};
use crate::error::{Error, Result};
use crate::param::{Param, Store};
use crate::pass::Pass;
use crate::vit::LayerNorm;
use candle_core::{DType, Device, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// The text tower of a CLIP model: ids to features in the space shared with images
/// (open_clip `encode_text`, transformers `CLIPModel.get_text_features`).
#[derive(Clone, Debug)]
pub struct TextTower {
    /// The architecture.
    pub config: TextConfig,
    /// Factor of the cosine between image and text, `exp(logit_scale)`.
    pub logit_scale: f64,
    tokens: Param,
    positions: Param,
    blocks: Vec<Block>,
    norm: LayerNorm,
    projection: Param,
}

/// Names for the parts outside the blocks; those of the blocks are timm's.
const TOKENS: &str = "text.tokens.weight";
const NORM: &str = "text.norm";
const PROJECTION: &str = "text.projection.weight";

impl TextConfig {
    /// Name and shape of every tensor.
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let dim = self.dim;
        let mut all: Vec<(String, Vec<usize>)> = vec![
            (TOKENS.into(), vec![self.vocab, dim]),
            ("pos_embed".into(), vec![1, self.context, dim]),
            (PROJECTION.into(), vec![self.embed, dim]),
        ];
        let mut both = |name: String, shape: &[usize]| {
            all.push((format!("{name}.weight"), shape.to_vec()));
            all.push((format!("{name}.bias"), shape[..1].to_vec()));
        };
        both(NORM.into(), &[dim]);
        for i in 0..self.depth {
            for norm in ["norm1", "norm2"] {
                both(format!("blocks.{i}.{norm}"), &[dim]);
            }
            for (name, (width, out)) in LINEARS.into_iter().zip(self.linears()) {
                both(format!("blocks.{i}.{name}"), &[out, width]);
            }
        }
        all
    }
}

impl TextTower {
    /// Reads the text tower of a checkpoint.
    ///
    /// # Errors
    /// If it has none, or a tensor is missing or misshapen.
    pub fn open(backbone: &Backbone, device: &Device) -> Result<Self> {
        let config = TextConfig::of(backbone)?;
        let have: BTreeSet<&str> = backbone.disk_names().collect();
        let map = NameMap::text(backbone.layout, &config.tensors(), &|name| have.contains(name))
            .ok_or_else(|| no_tower(backbone))?;
        let mut all = BTreeMap::new();
        for (name, stored) in &map.tensors {
            let pieces = stored.pieces.iter().map(|piece| {
                let raw = backbone.read_disk(piece)?;
                let wanted = stored.piece_shape();
                match raw.shape == wanted {
                    true => Ok(raw),
                    false => Err(Error::Shape { name: piece.clone(), wanted, found: raw.shape }),
                }
            });
            let raw = stored.join(pieces.collect::<Result<_>>()?);
            all.insert(name.clone(), Tensor::from_vec(raw.data, raw.shape, &Device::Cpu)?);
        }
        let scale = backbone.read_disk("logit_scale")?.data;
        let logit_scale = f64::from(scale.first().copied().unwrap_or_default()).exp();
        let mut store = Store::new(all, BTreeSet::new(), DType::F32, device);
        let (dim, eps) = (config.dim, config.norm_eps);
        let blocks = (0..config.depth).map(|i| Block::new(&mut store, &config, i));
        Ok(Self {
            logit_scale,
            blocks: blocks.collect::<Result<_>>()?,
            tokens: store.take(TOKENS, &[config.vocab, dim])?,
            positions: store.take("pos_embed", &[1, config.context, dim])?,
            norm: LayerNorm::new(&mut store, NORM, dim, eps)?,
            projection: store.take(PROJECTION, &[config.embed, dim])?,
            config,
        })
    }

    /// Features of texts, not normalised.
    ///
    /// # Shapes
    /// Rows of at most `context` ids, padded with 0 here; the result is `[rows, embed]`.
    ///
    /// # Errors
    /// If a row is empty or too long, or an id is not in the vocabulary.
    pub fn forward(&self, rows: &[Vec<u32>]) -> Result<Tensor> {
        let config = &self.config;
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let known = |id: &u32| (*id as usize) < config.vocab;
        if longest > config.context || !rows.iter().all(|row| row.iter().all(known)) {
            let (context, vocab) = (config.context, config.vocab);
            let reason = format!("texts must have at most {context} ids below {vocab}");
            return Err(Error::adapter("text tower", reason));
        }
        // A causal token sees none behind it: what is behind the last can be left out.
        let padded =
            |row: &Vec<u32>| (0..longest).map(|i| row.get(i).copied().unwrap_or(0)).collect();
        let ids: Vec<u32> = rows.iter().flat_map(|row| -> Vec<u32> { padded(row) }).collect();
        let (pass, shape) = (Pass::eval(), (rows.len(), longest, config.dim));
        let tokens = self.tokens.value();
        let ids = Tensor::from_vec(ids, rows.len() * longest, tokens.device())?;
        let x = tokens.embedding(&ids)?.reshape(shape)?;
        let mut x = x.broadcast_add(&self.positions.value().narrow(1, 0, longest)?)?;
        for block in &self.blocks {
            x = block.forward(&x, config, &pass)?;
        }
        let ends = rows.iter().map(|row| config.pool.position(row));
        let pooled = ends.enumerate().map(|(i, end)| x.get(i)?.get(end));
        let pooled = Tensor::stack(&pooled.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
        let features = self.norm.forward(&pooled, &pass)?;
        Ok(features.matmul(&self.projection.value().t()?)?)
    }
}

impl TextPool {
    /// The place in a row. Like the libraries, the first if none fits.
    fn position(self, row: &[u32]) -> usize {
        let id = match self {
            TextPool::LargestId => row.iter().max().copied().unwrap_or(0),
            TextPool::First(id) => id,
        };
        row.iter().position(|&other| other == id).unwrap_or(0)
    }
}
