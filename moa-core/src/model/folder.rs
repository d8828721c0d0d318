//! The adapter folder: what is trained, saved, pushed and loaded.
//!
//! `adapter_model.safetensors` (tensors), `moa.json` (everything else) and, where
//! PEFT can express the method, `adapter_config.json`.

use super::disk::{is_peft, on_disk, read_tensors, write_tensors};
use crate::backbone::{Layout, VitConfig};
use crate::error::{Error, Result};
use crate::files::{replace_dir, write_synced};
use crate::image::Preprocess;
use crate::method::Method;
use crate::peft::{PEFT_CONFIG_FILE, own_config};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Name of the tensor file.
pub const TENSOR_FILE: &str = "adapter_model.safetensors";
/// Name of the description.
pub const CONFIG_FILE: &str = "moa.json";
/// Version of [`Card`] that this program writes.
const SCHEMA: u32 = 1;

/// Which backbone an adapter was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneRef {
    /// What the user named: a name from `models/`, or a folder.
    pub spec: String,
    /// Hash of its weights; see [`crate::backbone::Backbone::sha256`].
    pub sha256: String,
    /// How it is stored.
    pub layout: Layout,
    /// Its architecture, with the image size that the adapter uses.
    pub vit: VitConfig,
}

/// How an adapter came to be, for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Dataset.
    pub dataset: String,
    /// Hash of the names of its images, which decide its splits; may be unknown.
    #[serde(default)]
    pub data_sha256: String,
    /// Environments it was trained on.
    pub train_envs: Vec<String>,
    /// Environments held out.
    pub test_envs: Vec<String>,
    /// Share of each environment kept out of training.
    pub holdout: f64,
    /// Seed of the splits.
    pub trial_seed: u64,
    /// Seed of everything else.
    pub seed: u64,
    /// Step after which it was taken.
    pub step: u64,
}

/// The content of `moa.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Version of this file's format.
    pub schema: u32,
    /// What trained.
    pub method: Method,
    /// Class names in the order of the head's outputs.
    pub classes: Vec<String>,
    /// The frozen part.
    pub backbone: BackboneRef,
    /// How images become input.
    pub preprocess: Preprocess,
    /// Where it comes from.
    #[serde(default)]
    pub training: Training,
    /// Logits divided by it have the least negative log likelihood on the validation images of
    /// the environments that it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}

/// An adapter folder in memory. Tensors have this crate's names.
#[derive(Clone, Debug)]
pub struct AdapterFolder {
    /// `moa.json`.
    pub card: Card,
    /// Trained tensors.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Card {
    /// A card of the current format.
    pub fn new(
        method: Method,
        classes: Vec<String>,
        backbone: BackboneRef,
        preprocess: Preprocess,
        training: Training,
    ) -> Self {
        let temperature = None;
        Self { schema: SCHEMA, method, classes, backbone, preprocess, training, temperature }
    }

    /// Refuses numbers that no adapter has; `path` is for the message.
    fn check(&self, path: &Path) -> Result<()> {
        let vit = &self.backbone.vit;
        vit.check(path)?;
        self.method.check(vit)?;
        self.preprocess.check().map_err(|e| Error::adapter(path, e.to_string()))?;
        if self.temperature.is_some_and(|t| !(t > 0.0 && t.is_finite())) {
            return Err(Error::adapter(path, "temperature must be a number above 0"));
        }
        let input = (self.preprocess.height, self.preprocess.width);
        if input != vit.image_size {
            let wanted = vit.image_size;
            let reason = format!("preprocess gives {input:?} pixels, vit.image_size is {wanted:?}");
            return Err(Error::adapter(path, reason));
        }
        Ok(())
    }

    /// The names that the tensor file must hold, with their shapes.
    fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        let vit = &self.backbone.vit;
        let mut all: BTreeMap<String, Vec<usize>> =
            self.method.trainable(vit).into_iter().map(|(n, (shape, _))| (n, shape)).collect();
        all.insert("head.weight".into(), vec![self.classes.len(), vit.dim]);
        all.insert("head.bias".into(), vec![self.classes.len()]);
        all
    }
}

impl AdapterFolder {
    /// Reads a folder; every tensor must be there, whole, finite and of its shape.
    ///
    /// # Errors
    /// The first thing that is not so.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(CONFIG_FILE);
        if !path.is_file() {
            let best = dir.join("best");
            let reason = match best.join(CONFIG_FILE).is_file() {
                true => format!("a run folder; its adapter is {}", best.display()),
                false => format!("not an adapter folder: it has no {CONFIG_FILE}"),
            };
            return Err(Error::adapter(dir, reason));
        }
        let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| Error::adapter(&path, e.to_string()))?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(found) if found == SCHEMA as u64 => {}
            found => {
                let found = found.map_or("no version".into(), |f| format!("version {f}"));
                let reason = format!("format {found}, this program reads {SCHEMA}");
                return Err(Error::adapter(&path, reason));
            }
        }
        let card: Card =
            serde_json::from_value(value).map_err(|e| Error::adapter(&path, e.to_string()))?;
        card.check(&path)?;
        let mut found = read_tensors(&dir.join(TENSOR_FILE))?;
        let mut tensors = BTreeMap::new();
        for (name, wanted) in card.tensors() {
            let stored = on_disk(&card.method, &name);
            let tensor = found.remove(&stored).ok_or_else(|| Error::missing(&stored, &found))?;
            if tensor.dims() != wanted {
                let found = tensor.dims().to_vec();
                return Err(Error::Shape { name: stored, wanted, found });
            }
            tensors.insert(name, tensor);
        }
        if let Some(name) = found.into_keys().next() {
            let known: BTreeSet<String> =
                tensors.keys().map(|n| on_disk(&card.method, n)).collect();
            let near = crate::suggest::nearest(&name, known.iter()).map(String::from);
            return Err(Error::Extra { name, near });
        }
        Ok(Self { card, tensors })
    }

    /// Writes the folder: beside its final name first, synced, then put in the place
    /// of what was there ([`replace_dir`]).
    ///
    /// # Errors
    /// If something cannot be written; nothing is left behind then.
    pub fn write(&self, dir: &Path) -> Result<()> {
        replace_dir(dir, |dir| self.write_into(dir))
    }

    /// Writes the files into a folder that exists and belongs to the caller.
    ///
    /// # Errors
    /// If something cannot be written.
    pub fn write_into(&self, dir: &Path) -> Result<()> {
        let method = &self.card.method;
        let stored = self.tensors.iter().map(|(n, t)| (on_disk(method, n), t.clone())).collect();
        write_tensors(&dir.join(TENSOR_FILE), &stored)?;
        write_json(&dir.join(CONFIG_FILE), &self.card)?;
        match self.peft_config() {
            Some(config) => write_json(&dir.join(PEFT_CONFIG_FILE), &config),
            None => Ok(()),
        }
    }

    /// PEFT's description, if PEFT can express the method.
    pub fn peft_config(&self) -> Option<serde_json::Value> {
        own_config(&self.card).filter(|_| is_peft(&self.card.method))
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text =
        serde_json::to_string_pretty(value).map_err(|e| Error::adapter(path, e.to_string()))?;
    write_synced(path, text + "\n")
}
