//! Checkpoints: `checkpoints/step-N/` with everything that a run needs to go on
//! with the same bits, and `checkpoints/LATEST` with the name of the newest.
//!
//! A checkpoint is written beside its final name, every file is synced and its
//! hash written to `manifest.json`, then the folder is renamed. A reader checks
//! the hashes and falls back to the checkpoint before.

mod manifest;

use crate::swad::{Swad, SwadState, Tensors};
use anyhow::{Context, Result};
use moa_core::files::{replace_dir, write_synced, write_whole};
use moa_core::model::{AdapterFolder, read_tensors, write_tensors};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

const OPTIMIZER_FILE: &str = "optimizer.safetensors";
const SWAD_FILE: &str = "swad.safetensors";
const STATE_FILE: &str = "state.json";
const LATEST: &str = "LATEST";

/// Numbers of the loop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps done; also the number of the next one.
    pub step: u64,
    /// The step just done is still to be evaluated (the run was interrupted).
    pub pending_eval: bool,
    /// Best validation accuracy so far and the step that had it.
    pub best: Option<(f64, u64)>,
    /// Sum and number of losses since the last evaluation.
    pub losses: (f64, u64),
    /// Seconds spent in training steps since the last evaluation.
    pub seconds: f64,
    /// What SWAD has seen, if it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swad: Option<SwadState>,
}

/// A checkpoint in memory.
pub struct Checkpoint {
    /// Trained tensors and their description.
    pub adapter: AdapterFolder,
    /// Moments of the optimiser, and what trains besides the model.
    pub optimizer: Tensors,
    /// Numbers of the loop.
    pub state: State,
    /// SWAD's averages; none if it is off.
    pub swad: Tensors,
}

/// Writes `dir/step-N`, points `LATEST` to it and removes all but the newest `keep`.
///
/// # Errors
/// If something cannot be written; earlier checkpoints stay as they are.
pub fn write(
    dir: &Path,
    adapter: &AdapterFolder,
    optimizer: &Tensors,
    state: &State,
    swad: Option<&Swad>,
    keep: usize,
) -> Result<()> {
    let mut state = state.clone();
    let averages = swad.map(Swad::save).map(|(numbers, tensors)| {
        state.swad = Some(numbers);
        tensors
    });
    let name = format!("step-{}", state.step);
    let target = dir.join(&name);
    replace_dir(&target, |folder| -> Result<()> {
        adapter.write_into(folder)?;
        write_tensors(&folder.join(OPTIMIZER_FILE), optimizer)?;
        if let Some(averages) = &averages {
            write_tensors(&folder.join(SWAD_FILE), averages)?;
        }
        write_synced(&folder.join(STATE_FILE), serde_json::to_string_pretty(&state)? + "\n")?;
        manifest::write(folder)
    })
    .with_context(|| format!("checkpoint {} not written", target.display()))?;
    write_whole(&dir.join(LATEST), name + "\n")?;
    // What claims to be newer than this one is left alone: it is not of this run.
    let ours = list(dir)?.into_iter().filter(|(step, _)| *step <= state.step);
    for (_, old) in ours.rev().skip(keep) {
        let _ = fs::remove_dir_all(old);
    }
    Ok(())
}

/// Steps and folders of the checkpoints in `dir`, oldest first.
///
/// # Errors
/// If the folder cannot be read.
pub fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let step: Option<u64> = name.strip_prefix("step-").and_then(|n| n.parse().ok());
        if let Some(step) = step.filter(|step| name == format!("step-{step}") && path.is_dir()) {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The newest checkpoint that is whole, and a line for each newer one that is not.
///
/// # Errors
/// If there are checkpoints but none is whole.
pub fn read_newest(dir: &Path) -> Result<(Option<Checkpoint>, Vec<String>)> {
    let mut damaged = Vec::new();
    let all = list(dir)?;
    for (_, path) in all.iter().rev() {
        match read(path) {
            Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
            Err(error) => damaged.push(format!("{}: {error:#}; not used", path.display())),
        }
    }
    match damaged.first() {
        Some(newest) => anyhow::bail!(
            "none of {} checkpoints is whole ({newest}); start anew with another --out",
            damaged.len()
        ),
        None => Ok((None, damaged)),
    }
}

fn read(dir: &Path) -> Result<Checkpoint> {
    manifest::verify(dir)?;
    let path = dir.join(STATE_FILE);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let state: State = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let swad = match state.swad {
        Some(_) => read_tensors(&dir.join(SWAD_FILE))?,
        None => Tensors::new(),
    };
    Ok(Checkpoint {
        adapter: AdapterFolder::read(dir)?,
        optimizer: read_tensors(&dir.join(OPTIMIZER_FILE))?,
        state,
        swad,
    })
}
