//! Finding the backbone that a user names.

use anyhow::Result;
use moa_core::backbone::{Backbone, registry};
use std::path::{Path, PathBuf};

/// The name of the backbone inside the program.
pub const TINY: &str = "tiny";

/// Opens a backbone: `tiny`, or a folder in one of the supported layouts.
///
/// # Errors
/// If it is not there or cannot be read. Names from `models/` need the folder
/// with their files.
pub fn open_backbone(spec: &str) -> Result<Backbone> {
    let path = Path::new(spec);
    if spec == TINY {
        return tiny();
    }
    if path.is_dir() {
        return Ok(Backbone::open(path)?);
    }
    if let Ok(known) = registry::find(spec) {
        anyhow::bail!(
            "backbone `{spec}` is not on this machine: put {} of {} in a folder and name the folder",
            known.files.join(", "),
            known.repo
        );
    }
    if path.exists() {
        anyhow::bail!("{spec}: a backbone is a folder, with its config file beside the weights");
    }
    let near = registry::find(spec).err().map(|e| e.to_string()).unwrap_or_default();
    anyhow::bail!("{spec}: no such folder; {near}");
}

/// The backbone inside the program: a small ViT pretrained on drawings; see
/// `models/tiny/README.md`.
///
/// # Errors
/// Only if the program is damaged.
pub fn tiny() -> Result<Backbone> {
    const FILES: &[(&str, &[u8])] = &[
        ("config.json", include_bytes!("../../models/tiny/config.json")),
        ("model.safetensors", include_bytes!("../../models/tiny/model.safetensors")),
    ];
    Ok(Backbone::from_bytes(TINY, FILES)?)
}

/// True if `spec` is a name rather than a folder.
pub fn is_known(spec: &str) -> bool {
    spec == TINY || registry::find(spec).is_ok()
}

/// How a spec is recorded: names as they are, folders with their whole path, so
/// that an adapter finds its backbone from any folder.
pub fn recorded(spec: &str) -> String {
    if is_known(spec) {
        return spec.into();
    }
    let whole: Option<PathBuf> = std::fs::canonicalize(spec).ok();
    whole.map_or(spec.into(), |p| p.to_string_lossy().into_owned())
}

/// Adds the folder to an error that names only a tensor.
pub(crate) fn located(path: &Path, error: moa_core::Error) -> anyhow::Error {
    let text = error.to_string();
    let shown = path.display().to_string();
    if text.contains(&shown) { error.into() } else { anyhow::anyhow!("{shown}: {text}") }
}
