//! Files of a run folder that hold one JSON object.

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Writes `run/name`.
///
/// # Errors
/// If it cannot be written.
pub fn write(run: &Path, name: &str, content: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(content)? + "\n";
    Ok(moa_core::files::write_whole(&run.join(name), text)?)
}

/// Reads `run/name`; nothing if there is none.
///
/// # Errors
/// If it is damaged.
pub fn read<T: DeserializeOwned>(run: &Path, name: &str) -> Result<Option<T>> {
    let path = run.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(Some(serde_json::from_str(&text).with_context(|| path.display().to_string())?))
}
