//! Writing an adapter for another program.

use crate::labels::LABELS_FILE;
use crate::spec::{local, located};
use anyhow::Result;
use moa_core::files::{replace_dir, write_synced};
use moa_core::model::{AdapterFolder, TENSOR_FILE, write_tensors};
use moa_core::peft::{PEFT_CONFIG_FILE, PeftExport, PeftLayout, export};
use std::path::Path;

/// The head of a layout without classifier, by our names.
const HEAD_FILE: &str = "head.safetensors";

/// Writes an adapter folder as one of PEFT: its two files, and the class names. Where the
/// layout has no classifier (CLIP) the head is put beside them.
///
/// # Errors
/// If PEFT cannot hold the adapter in this layout, or a folder cannot be read or written.
pub fn peft(adapter: &Path, layout: PeftLayout, out: &Path) -> Result<()> {
    let adapter = &local(adapter)?;
    let folder = AdapterFolder::read(adapter).map_err(|e| located(adapter, e))?;
    let PeftExport { config, tensors, head } =
        export(&folder, layout).map_err(|e| located(adapter, e))?;
    replace_dir(out, |dir| -> Result<()> {
        write_tensors(&dir.join(TENSOR_FILE), &tensors)?;
        if !head.is_empty() {
            write_tensors(&dir.join(HEAD_FILE), &head)?;
        }
        let text = serde_json::to_string_pretty(&config)? + "\n";
        write_synced(&dir.join(PEFT_CONFIG_FILE), text)?;
        Ok(write_synced(&dir.join(LABELS_FILE), folder.card.classes.join("\n") + "\n")?)
    })
}
