//! Adapters of Python's PEFT: LoRA (with DoRA, rank-stabilised scale, patterns, biases),
//! LoHa and LoKr are read, for prediction and merging; single adapters of ours are
//! written as LoRA.
//!
//! A foreign adapter is [folded](PeftFolder::fold) into the weights of its backbone: one
//! exact way for every kind, and no slower than the backbone itself.

mod config;
mod delta;
mod export;
mod fold;
mod lora;
mod modules;
mod targets;
mod tensors;

pub use config::{PeftConfig, PeftKind};
pub(crate) use export::own_config;
pub use export::{PeftExport, PeftLayout, export};
pub use fold::Folded;

use crate::backbone::{Backbone, BackboneError};
use crate::error::{Error, Result};
use crate::model::{TENSOR_FILE, read_tensors};
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of PEFT's configuration file.
pub const PEFT_CONFIG_FILE: &str = "adapter_config.json";

/// A folder that PEFT wrote.
#[derive(Clone, Debug)]
pub struct PeftFolder {
    /// The folder.
    pub path: PathBuf,
    /// `adapter_config.json`.
    pub config: PeftConfig,
    /// `adapter_model.safetensors`, by its names.
    pub tensors: BTreeMap<String, Tensor>,
}

impl PeftFolder {
    /// Reads a folder.
    ///
    /// # Errors
    /// If a file is missing or damaged, or the adapter is of a kind that is not read.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(PEFT_CONFIG_FILE);
        let bytes = crate::files::read(&path)?;
        let json = |reason: String| BackboneError::Json { path: path.clone(), reason };
        let map = serde_json::from_slice(&bytes).map_err(|e| json(e.to_string()))?;
        let config = config::parse(&path, &map)?;
        let file = dir.join(TENSOR_FILE);
        if !file.is_file() && dir.join("adapter_model.bin").is_file() {
            let reason = "adapter_model.bin is a pickle, which is not read; load it with PEFT and \
                          save it again with safe_serialization=True";
            return Err(Error::adapter(dir, reason));
        }
        Ok(Self { path: dir.into(), config, tensors: read_tensors(&file)? })
    }

    /// The tensors of `backbone` as the adapter changes them. The names of any layout
    /// are understood: those of timm, open_clip, and transformers before and after 5.9.
    ///
    /// # Errors
    /// If the adapter is for another model, or a tensor is missing, extra or misshapen.
    pub fn fold(&self, backbone: &Backbone) -> Result<Folded> {
        fold::fold(&self.config, self.tensors.clone(), backbone)
    }
}
