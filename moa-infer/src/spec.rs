//! Finding the backbone that a user names.

use anyhow::Result;
use moa_core::backbone::{Backbone, registry};
use moa_core::peft::PEFT_CONFIG_FILE;
use std::path::Path;

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
    let names = registry::names().into_iter().chain([TINY]);
    let hint = match moa_core::suggest::nearest(spec, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`moa-train list backbones` names the known ones".into(),
    };
    anyhow::bail!("{spec}: no such backbone folder or name; {hint}");
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

/// True if a folder is to be read as an adapter: it is one, or the folder of a run
/// that has one inside (which the error of reading it then says).
pub fn is_adapter(path: &Path) -> bool {
    let holds = |dir: &Path| dir.join(moa_core::model::CONFIG_FILE).is_file();
    holds(path) || holds(&path.join("best"))
}

/// True if a folder is an adapter of Python's PEFT and not one of ours, which may hold the
/// same file.
pub fn is_peft(path: &Path) -> bool {
    path.join(PEFT_CONFIG_FILE).is_file() && !path.join(moa_core::model::CONFIG_FILE).is_file()
}

/// True if `spec` is a name rather than a folder.
pub fn is_known(spec: &str) -> bool {
    spec == TINY || registry::find(spec).is_ok()
}

/// How a spec is recorded: names as they are, folders with their whole path, so
/// that an adapter finds its backbone from any folder.
pub fn recorded(spec: &str) -> String {
    if spec == TINY || (is_known(spec) && !Path::new(spec).is_dir()) {
        return spec.into();
    }
    whole(spec)
}

/// The whole path of a folder that is there; else what was given.
pub fn whole(path: &str) -> String {
    let whole = std::fs::canonicalize(path).ok().and_then(|p| p.to_str().map(String::from));
    whole.unwrap_or_else(|| path.into())
}

/// Adds the folder to an error that names only a tensor.
pub(crate) fn located(path: &Path, error: moa_core::Error) -> anyhow::Error {
    let text = error.to_string();
    let shown = path.display().to_string();
    if text.contains(&shown) { error.into() } else { anyhow::anyhow!("{shown}: {text}") }
}
