//! The results of a sweep without its checkpoints, small enough to keep.

use super::folder::Folder;
use crate::protocol::results::RESULTS_FILE;
use crate::swad;
use anyhow::{Context, Result};
use std::path::Path;

/// Copies `results.jsonl` of every job that is done to `out/JOB/`, in which reports and
/// DomainBed's collector find it; returns how many there are. What is there already is replaced.
///
/// # Errors
/// If a file cannot be copied.
pub fn collect(folder: &Folder, out: &Path) -> Result<usize> {
    let mut count = 0;
    for job in folder.jobs.iter().filter(|job| folder.is_done(job)) {
        let (from, to) = (folder.run(job), out.join(&job.name));
        for name in [RESULTS_FILE.into(), format!("{}/{RESULTS_FILE}", swad::FOLDER)] {
            let (source, target) = (from.join(&name), to.join(&name));
            if !source.is_file() {
                continue; // weights were not averaged
            }
            let parent = target.parent().unwrap_or(&to);
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            std::fs::copy(&source, &target).with_context(|| target.display().to_string())?;
        }
        count += 1;
    }
    Ok(count)
}
