//! The text tower's configuration, in the layouts of open_clip and transformers.

use crate::backbone::{Backbone, Keys, Layout, MlpKind};
use crate::error::{Error, Result};
use serde_json::Map;

/// Where a text's feature is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPool {
    /// At the largest id of the row, the first of equals.
    LargestId,
    /// At the first of these ids.
    First(u32),
}

/// The text tower of a CLIP model.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Ids of a row.
    pub context: usize,
    /// Number of ids.
    pub vocab: usize,
    /// Width of a token.
    pub dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Width between the layers of an MLP.
    pub mlp_hidden: usize,
    /// The activation.
    pub mlp: MlpKind,
    /// Added to the variance in every layer norm.
    pub norm_eps: f64,
    /// Where the feature is taken.
    pub pool: TextPool,
    /// Width of the space shared with images.
    pub embed: usize,
}

/// Keys of `text_cfg` that are read, or change nothing about the feature of a text.
const OPEN_CLIP: &[&str] = &[
    "context_length",
    "eos_id",
    "heads",
    "hf_tokenizer_name",
    "layers",
    "mlp_ratio",
    "norm_kwargs",
    "output_tokens",
    "pad_id",
    "pool_type",
    "proj_type",
    "tokenizer_kwargs",
    "tokenizer_mode",
    "vocab_size",
    "width",
];

/// The most that any number here may be.
const MAX: usize = 1 << 20;

impl TextConfig {
    /// Reads it from the configuration of a CLIP checkpoint; absent keys have the
    /// library's defaults.
    ///
    /// # Errors
    /// If the checkpoint has no text tower, or one that is not computed here.
    pub fn of(backbone: &Backbone) -> Result<Self> {
        let file = backbone.path().join(backbone.layout.config_file());
        let (top, empty) = (Keys::new(&file, &backbone.source_config), Map::new());
        let embed = backbone.config.projection_dim;
        let (Some(embed), Layout::OpenClip | Layout::HfClip) = (embed, backbone.layout) else {
            return Err(no_tower(backbone));
        };
        let config = match backbone.layout {
            Layout::OpenClip => open_clip(&top, embed)?,
            _ => {
                let text = top.table("text_config")?.unwrap_or_else(|| Keys::new(&file, &empty));
                transformers(&text, embed)?
            }
        };
        let c = &config;
        let sizes = [c.context, c.vocab, c.dim, c.depth, c.heads, c.mlp_hidden, c.embed];
        if sizes.iter().any(|size| !(1..=MAX).contains(size)) || !c.dim.is_multiple_of(c.heads) {
            return Err(Error::adapter(file, "describes a text tower of impossible sizes"));
        }
        Ok(config)
    }
}

/// The error for a checkpoint without a text tower.
pub(super) fn no_tower(backbone: &Backbone) -> Error {
    let reason = "has no text tower: zero-shot needs a CLIP model with both towers, of open_clip \
                  or transformers' CLIPModel";
    Error::adapter(backbone.path(), reason)
}

fn open_clip(top: &Keys<'_>, embed: usize) -> Result<TextConfig> {
    let missing = |key| top.bad(key, "is missing: there is no text tower");
    let model = top.table("model_cfg")?.ok_or_else(|| missing("model_cfg"))?;
    let text = model.table("text_cfg")?.ok_or_else(|| missing("text_cfg"))?;
    for key in text.keys().filter(|key| !OPEN_CLIP.contains(key)) {
        text.must(key, false)?;
    }
    text.must("pool_type", "argmax")?;
    text.must("proj_type", "linear")?;
    let eps = match text.table("norm_kwargs")? {
        Some(norm) => norm.number("eps")?,
        None => None,
    };
    let dim = text.count("width")?.unwrap_or(512);
    let quick = model.flag("quick_gelu")?.unwrap_or(false);
    Ok(TextConfig {
        context: text.count("context_length")?.unwrap_or(77),
        vocab: text.count("vocab_size")?.unwrap_or(49408),
        dim,
        depth: text.count("layers")?.unwrap_or(12),
        heads: text.count("heads")?.unwrap_or(8),
        mlp_hidden: (dim as f64 * text.number("mlp_ratio")?.unwrap_or(4.0)) as usize,
        mlp: if quick { MlpKind::QuickGelu } else { MlpKind::Gelu },
        norm_eps: eps.unwrap_or(1e-5),
        pool: TextPool::LargestId,
        embed,
    })
}

fn transformers(text: &Keys<'_>, embed: usize) -> Result<TextConfig> {
    let mlp = match text.text("hidden_act")? {
        None | Some("quick_gelu") => MlpKind::QuickGelu,
        Some("gelu") => MlpKind::Gelu,
        Some(_) => {
            let wanted = "\"gelu\" and \"quick_gelu\" can be computed here";
            return Err(text.unsupported("hidden_act", wanted).into());
        }
    };
    // 2 stands in old files for an id that their vocabulary does not have.
    let pool = match text.count("eos_token_id")? {
        Some(2) => TextPool::LargestId,
        id => TextPool::First(id.unwrap_or(49407) as u32),
    };
    Ok(TextConfig {
        context: text.count("max_position_embeddings")?.unwrap_or(77),
        vocab: text.count("vocab_size")?.unwrap_or(49408),
        dim: text.count("hidden_size")?.unwrap_or(512),
        depth: text.count("num_hidden_layers")?.unwrap_or(12),
        heads: text.count("num_attention_heads")?.unwrap_or(8),
        mlp_hidden: text.count("intermediate_size")?.unwrap_or(2048),
        mlp,
        norm_eps: text.number("layer_norm_eps")?.unwrap_or(1e-5),
        pool,
        embed,
    })
}
