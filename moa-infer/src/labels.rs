//! Names of classes in a file, one a line.

use anyhow::{Context, Result};
use std::path::Path;

/// Their file beside an exported adapter.
pub const LABELS_FILE: &str = "labels.txt";

/// The names of `classes` classes.
///
/// # Errors
/// If there is no such file, or it has another number of lines.
pub fn read(path: &Path, classes: usize) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let text = text.trim_start_matches('\u{feff}').trim_end();
    let names: Vec<String> = text.lines().map(|line| line.trim().to_string()).collect();
    let found = names.len();
    anyhow::ensure!(found == classes, "{}: {found} lines for {classes} classes", path.display());
    Ok(names)
}
