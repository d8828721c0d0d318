//! Configuration against tensors, from the headers alone.

use std::path::Path;

use super::config::VitConfig;
use super::error::{BackboneError, Result};
use super::names::NameMap;
use super::parsed::FactKeys;
use super::weights::Weights;
use crate::suggest::nearest;

/// A configuration, the names it leads to, and the tensors that are there.
pub(super) struct Check<'a> {
    /// The configuration file.
    pub path: &'a Path,
    pub config: &'a VitConfig,
    pub keys: &'static FactKeys,
    pub names: &'a NameMap,
    pub weights: &'a Weights,
}

impl Check<'_> {
    /// Every tensor is there with its shape, and none that would change the result
    /// is left over.
    pub(super) fn run(&self) -> Result<()> {
        self.sides()?;
        self.depth()?;
        self.parts()?;
        let have = &self.weights.entries;
        for stored in self.names.tensors.values() {
            for piece in &stored.pieces {
                let Some(entry) = have.get(piece) else {
                    let strangers = self.names.strangers(have.keys());
                    return Err(BackboneError::missing(&self.weights.path, piece, strangers));
                };
                let wanted = stored.piece_shape();
                if entry.shape != wanted {
                    let (path, name) = (self.weights.file_of(piece), piece.clone());
                    let found = entry.shape.clone();
                    return Err(BackboneError::Shape { path, name, found, wanted });
                }
            }
        }
        match self.names.strangers(have.keys()).first() {
            None => Ok(()),
            Some(&name) => {
                let near = nearest(name, self.names.pieces()).map(String::from);
                let path = self.weights.file_of(name);
                Err(BackboneError::Extra { path, name: name.clone(), near })
            }
        }
    }

    /// Widths that both the configuration and a tensor tell. The axis counts from
    /// the end, because layouts differ in leading axes.
    fn sides(&self) -> Result<()> {
        let (config, keys) = (self.config, self.keys);
        let patch = config.patch_size;
        for (tensor, axis, key, value, wanted) in [
            ("patch_embed.proj.weight", 4, keys.dim, config.dim.to_string(), config.dim),
            ("patch_embed.proj.weight", 2, keys.patch_size, patch.to_string(), patch),
            (
                "blocks.0.mlp.fc2.weight",
                1,
                keys.mlp_hidden,
                config.mlp_hidden.to_string(),
                config.mlp_hidden,
            ),
            ("reg_token", 2, keys.registers, config.registers.to_string(), config.registers),
            (
                "pos_embed",
                2,
                keys.image_size,
                format!("{} x {}", config.image_size.0, config.image_size.1),
                config.pos_embed_prefix + config.grid().0 * config.grid().1,
            ),
        ] {
            let tensor = self.on_disk(tensor);
            let Some(entry) = self.weights.entries.get(&tensor) else { continue };
            let side = entry.shape.iter().nth_back(axis - 1);
            if side.is_none_or(|&side| side != wanted) {
                let found = format!("has shape {:?}, where {wanted} would fit", entry.shape);
                return Err(self.disagree(key, value, tensor, found));
            }
        }
        Ok(())
    }

    /// The number of blocks. With none at all, some other tensor is reported missing.
    fn depth(&self) -> Result<()> {
        let norm = self.on_disk("blocks.#.norm1.weight");
        let name = |block: usize| norm.replace('#', &block.to_string());
        let there = |block: usize| self.weights.entries.contains_key(&name(block));
        let wanted = self.config.depth;
        let depth = (0..=wanted).take_while(|&block| there(block)).count();
        if depth == wanted || depth == 0 {
            return Ok(());
        }
        let found = if depth > wanted { "is there too" } else { "is not there" };
        let tensor = name(depth.min(wanted));
        Err(self.disagree(self.keys.depth, wanted.to_string(), tensor, found.into()))
    }

    /// Tensors that an architecture has or has not.
    fn parts(&self) -> Result<()> {
        let (config, keys) = (self.config, self.keys);
        for (name, key, wanted) in [
            ("reg_token", keys.registers, config.registers > 0),
            ("patch_embed.proj.bias", keys.patch_bias, config.patch_bias),
            ("blocks.0.attn.qkv.bias", keys.qkv_bias, config.qkv_bias),
            ("blocks.0.ls1.gamma", keys.layer_scale, config.layer_scale),
            ("norm_pre.weight", keys.pre_norm, config.pre_norm),
        ] {
            let tensor = self.on_disk(name);
            let there = self.weights.entries.contains_key(&tensor);
            if there != wanted {
                let found = if there { "is there" } else { "is not there" };
                let value = if name == "reg_token" {
                    config.registers.to_string()
                } else {
                    wanted.to_string()
                };
                return Err(self.disagree(key, value, tensor, found.into()));
            }
        }
        Ok(())
    }

    /// The (first) name on disk of a tensor that the architecture may not have.
    fn on_disk(&self, name: &str) -> String {
        let names = self.names.would_be(name, self.config.mlp);
        names.into_iter().next().unwrap_or_default()
    }

    fn disagree(&self, key: &str, value: String, tensor: String, found: String) -> BackboneError {
        BackboneError::Disagree { path: self.path.into(), key: key.into(), value, tensor, found }
    }
}
