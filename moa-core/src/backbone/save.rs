//! Writing a backbone with changed tensors, in its own layout.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::TensorView;

use super::detect::{CONFIG, OPEN_CLIP_CONFIG};
use super::error::{BackboneError, Result};
use super::hf_preprocess;
use super::open::Backbone;
use super::raw::{DiskTensor, RawTensor, encode};
use crate::files::{sync, write_synced};

impl Backbone {
    /// All tensors under their names on disk, with those in `changed` (our names)
    /// replaced. Everything else, other towers included, is passed through byte by
    /// byte. A changed tensor keeps its type if that holds the new values exactly,
    /// and becomes `F32` otherwise.
    ///
    /// # Errors
    /// If a name in `changed` is not one of [`Backbone::tensors`] or has another
    /// shape, or a tensor cannot be read.
    pub fn to_disk(
        &self,
        changed: &BTreeMap<String, RawTensor>,
    ) -> Result<BTreeMap<String, DiskTensor>> {
        let mut all = BTreeMap::new();
        for (name, tensor) in changed {
            let stored = self.names.tensors.get(name).ok_or_else(|| {
                BackboneError::missing(self.path(), name, self.names.tensors.keys())
            })?;
            let count: usize = stored.shape.iter().product();
            let whole = tensor.data.len() == count;
            if tensor.shape != stored.shape || !whole {
                return Err(BackboneError::Shape {
                    path: self.path().into(),
                    name: name.clone(),
                    found: if whole { tensor.shape.clone() } else { vec![tensor.data.len()] },
                    wanted: stored.shape.clone(),
                });
            }
            for (piece, values) in stored.pieces.iter().zip(stored.split(tensor)) {
                let Some(entry) = self.weights.entries.get(piece) else { continue };
                let (dtype, bytes) = encode(&values, entry.dtype);
                let shape = entry.shape.clone();
                all.insert(piece.clone(), DiskTensor { dtype, shape, bytes });
            }
        }
        for name in self.weights.entries.keys() {
            if !all.contains_key(name) {
                all.insert(name.clone(), self.weights.stored(name)?);
            }
        }
        Ok(all)
    }

    /// Writes the backbone with the tensors in `changed` replaced into a folder that
    /// exists: one safetensors file, and the configuration files as they are. timm,
    /// open_clip or transformers load the folder as they load the original.
    ///
    /// # Errors
    /// As [`Backbone::to_disk`], or if a file cannot be written.
    pub fn save(&self, dir: &Path, changed: &BTreeMap<String, RawTensor>) -> crate::Result<()> {
        let tensors = self.to_disk(changed)?;
        let path = dir.join(format!("{}.safetensors", self.layout.weights_stem()));
        let fail =
            |error: safetensors::SafeTensorError| BackboneError::damaged(&path, error.to_string());
        let mut views = Vec::with_capacity(tensors.len());
        for (name, tensor) in &tensors {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
            views.push((name.as_str(), view.map_err(fail)?));
        }
        // transformers refuses files without it.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(views, Some(metadata), &path).map_err(fail)?;
        sync(&path)?;
        for name in [CONFIG, OPEN_CLIP_CONFIG, hf_preprocess::FILE, hf_preprocess::JOINT_FILE] {
            if self.folder.has(name) {
                let target = dir.join(name);
                write_synced(&target, self.folder.read(name)?)?;
            }
        }
        Ok(())
    }
}
