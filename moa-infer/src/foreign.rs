//! Adapters of Python's PEFT on their backbones.

use crate::exit::note;
use crate::spec::{located, open_backbone};
use anyhow::{Context, Result};
use moa_core::backbone::Backbone;
use moa_core::peft::{Folded, PeftFolder};
use std::path::Path;

/// A foreign adapter, its backbone, and what the one makes of the other.
pub struct Foreign {
    /// The adapter's files.
    pub folder: PeftFolder,
    /// The backbone as it is.
    pub backbone: Backbone,
    /// The tensors that change.
    pub folded: Folded,
}

impl Foreign {
    /// Opens a folder of PEFT on `backbone`, or on the base model that it names.
    ///
    /// # Errors
    /// If something is missing or damaged, or adapter and backbone do not fit.
    pub fn open(path: &Path, backbone: Option<&str>) -> Result<Self> {
        let folder = PeftFolder::read(path).map_err(|e| located(path, e))?;
        let named = folder.config.base_model.as_deref();
        let spec = backbone
            .or(named)
            .with_context(|| format!("{}: names no base model: give --backbone", path.display()))?;
        let weights = open_backbone(spec).with_context(|| {
            let hint = if backbone.is_none() { "; `--backbone` names another place" } else { "" };
            format!("{}: its base model `{spec}` cannot be opened{hint}", path.display())
        })?;
        let folded = folder.fold(&weights).map_err(|e| located(path, e))?;
        if folded.outside > 0 {
            note(format_args!(
                "{}: {} tensors are for parts that take no part in an image's feature",
                path.display(),
                folded.outside
            ));
        }
        Ok(Self { folder, backbone: weights, folded })
    }
}
