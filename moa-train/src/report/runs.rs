//! The runs behind a report.

use crate::analysis::{ANALYSIS_FILE, Analysis};
use crate::fit::{EVALUATION_FILE, Worth};
use crate::protocol::choose::{Chosen, Group};
use crate::protocol::record::Record;
use crate::protocol::results::read_runs;
use crate::run_file;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// One run, or the average of its weights.
pub struct Run {
    /// Its folder.
    pub dir: PathBuf,
    /// Its evaluations; at least one.
    pub records: Vec<Record>,
    /// Of its best adapter, if it is there.
    pub worth: Option<Worth>,
    /// What it has learned, if `moa-train analyse` has looked.
    pub analysis: Option<Analysis>,
}

/// All runs below a folder, by path.
///
/// # Errors
/// If a file is damaged.
pub fn read(dir: &Path) -> Result<Vec<Run>> {
    let runs = read_runs(dir)?.into_iter().filter(|(_, records)| !records.is_empty());
    let run = |(dir, records): (PathBuf, Vec<Record>)| {
        let worth = run_file::read(&dir, EVALUATION_FILE)?;
        let analysis = run_file::read(&dir, ANALYSIS_FILE)?;
        Ok(Run { dir, records, worth, analysis })
    };
    runs.map(run).collect()
}

impl Run {
    /// Whether a report's choice is of this run.
    pub fn is(&self, group: &Group, chosen: &Chosen) -> bool {
        let args = &self.records[0].args;
        args.dataset == group.dataset
            && args.algorithm == group.algorithm
            && args.trial_seed == group.trial
            && args.hparams_seed == chosen.hparams_seed
            && args.test_envs == [group.target]
    }

    /// The evaluation after a step.
    pub fn at(&self, step: u64) -> Option<&Record> {
        self.records.iter().find(|record| record.step == step)
    }
}
