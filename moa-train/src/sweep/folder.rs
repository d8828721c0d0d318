//! The folder of a sweep: `sweep.toml`, a run folder for each job (one level, as DomainBed's
//! collector reads it), and `.sweep/` with claims and failures.

use super::file::SweepFile;
use super::jobs::{self, Job};
use crate::config::saved;
use crate::fit::DONE_FILE;
use anyhow::{Context, Result};
use moa_core::files::write_whole;
use moa_infer::exit::usage;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A sweep in its folder.
pub struct Folder {
    /// The folder.
    pub dir: PathBuf,
    /// Its runs.
    pub jobs: Vec<Job>,
}

/// Why a job ended without a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// One line.
    pub reason: String,
    /// Exit code that `fit` would have had.
    pub code: u8,
    /// Which machine it was.
    pub host: String,
}

impl Folder {
    /// Writes a sweep's file into `dir`, if all its runs that have begun are still the same.
    ///
    /// # Errors
    /// If one is not, or `dir` cannot be written.
    pub fn plan(dir: &Path, file: &SweepFile) -> Result<Self> {
        let folder = Self { dir: dir.into(), jobs: jobs::expand(file)? };
        for job in &folder.jobs {
            let before = folder.run(job).join("config.toml");
            if before.is_file() {
                let same = saved::require_same(&before, &job.config);
                same.map_err(|e| usage(format!("{}: {e}; choose another --out", job.name)))?;
            }
        }
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let text = file.to_text().map_err(|e| usage(e.to_string()))?;
        write_whole(&dir.join("sweep.toml"), text)?;
        Ok(folder)
    }

    /// Opens the sweep that was planned in `dir`.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("sweep.toml");
        if !path.is_file() {
            let hint = "moa-train sweep plan FILE.toml --out";
            return Err(usage(format!("{}: no sweep here; `{hint} {0}` makes one", dir.display())));
        }
        Ok(Self { dir: dir.into(), jobs: jobs::read(&path)? })
    }

    /// The run folder of a job.
    pub fn run(&self, job: &Job) -> PathBuf {
        self.dir.join(&job.name)
    }

    /// Whether a job has ended well.
    pub fn is_done(&self, job: &Job) -> bool {
        self.run(job).join(DONE_FILE).is_file()
    }

    /// Why a job failed, if it has.
    pub fn failure(&self, job: &Job) -> Option<Failure> {
        let text = std::fs::read_to_string(self.failed(job)).ok()?;
        let unread = || Failure { reason: text.clone(), code: 1, host: String::new() };
        Some(serde_json::from_str(&text).unwrap_or_else(|_| unread()))
    }

    /// Notes why a job failed; no worker takes it up again.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn fail(&self, job: &Job, failure: &Failure) -> Result<()> {
        let path = self.failed(job);
        std::fs::create_dir_all(self.failures()).with_context(|| path.display().to_string())?;
        Ok(write_whole(&path, serde_json::to_string(failure)? + "\n")?)
    }

    /// Forgets that jobs failed; returns how many had.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn forget_failures(&self) -> Result<usize> {
        let mut count = 0;
        for job in &self.jobs {
            match std::fs::remove_file(self.failed(job)) {
                Ok(()) => count += 1,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e).context(self.failed(job).display().to_string()),
            }
        }
        Ok(count)
    }

    /// Where claims are.
    pub fn claims(&self) -> PathBuf {
        self.dir.join(".sweep/claims")
    }

    fn failures(&self) -> PathBuf {
        self.dir.join(".sweep/failed")
    }

    fn failed(&self, job: &Job) -> PathBuf {
        self.failures().join(format!("{}.json", job.name))
    }
}
