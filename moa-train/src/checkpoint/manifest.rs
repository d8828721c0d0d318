//! Hashes of the files of a folder.

use anyhow::{Context, Result};
use moa_core::hash::{absorb, hex};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const FILE: &str = "manifest.json";

fn hash(path: &Path) -> Result<String> {
    anyhow::ensure!(path.is_file(), "{}: not a file", path.display());
    let shown = || path.display().to_string();
    let file = fs::File::open(path).with_context(shown)?;
    Ok(hex(absorb(Sha256::new(), file).with_context(shown)?.finalize()))
}

/// Writes the hashes of all files of `dir`, then syncs the folder.
pub fn write(dir: &Path) -> Result<()> {
    let mut hashes = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        hashes.insert(name, hash(&path)?);
    }
    let text = serde_json::to_string_pretty(&hashes)? + "\n";
    moa_core::files::write_synced(&dir.join(FILE), &text)?;
    Ok(moa_core::files::sync_dir(dir)?)
}

/// Compares the hashes of all files with the manifest.
pub fn verify(dir: &Path) -> Result<()> {
    let path = dir.join(FILE);
    let text = fs::read_to_string(&path).context("its manifest cannot be read")?;
    let hashes: BTreeMap<String, String> =
        serde_json::from_str(&text).context("its manifest is damaged")?;
    for (name, wanted) in hashes {
        // Only plain names: a manifest must not point out of its folder.
        anyhow::ensure!(!name.contains(['/', '\\']), "its manifest names `{name}`");
        let found = hash(&dir.join(&name)).with_context(|| format!("`{name}` cannot be read"))?;
        anyhow::ensure!(found == wanted, "`{name}` is not what was written");
    }
    Ok(())
}
