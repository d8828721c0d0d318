//! The results of a sweep without its checkpoints, small enough to keep.

use super::folder::Folder;
use super::jobs::Job;
use crate::fit::{BACKBONE_HASH, DONE_FILE, EVALUATION_FILE, hparams, short_hash};
use crate::protocol::results::{RESULTS_FILE, read_results};
use crate::swad;
use anyhow::{Context, Result};
use moa_infer::spec::open_backbone;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Copies `results.jsonl` and `evaluation.json` of every job that is done to `out/JOB/`, in which
/// reports and DomainBed's collector find them; returns how many there are. What is there already is replaced.
///
/// # Errors
/// If a file cannot be copied.
pub fn collect(folder: &Folder, out: &Path) -> Result<usize> {
    let mut count = 0;
    for job in folder.jobs.iter().filter(|job| folder.is_done(job)) {
        copy(&folder.run(job), &out.join(&job.name))?;
        count += 1;
    }
    Ok(count)
}

/// Takes results that [`collect`] has left in `from` for those of the sweep's runs, if these
/// have not begun; returns how many.
///
/// # Errors
/// If results are not those of the run of that name, or cannot be copied.
pub fn adopt(folder: &Folder, from: &Path) -> Result<usize> {
    let (mut count, mut hashes) = (0, BTreeMap::new());
    for job in &folder.jobs {
        let (source, run) = (from.join(&job.name), folder.run(job));
        if source.join(RESULTS_FILE).is_file() && !run.exists() {
            let spec = &job.config.backbone.spec;
            if !hashes.contains_key(spec) {
                hashes.insert(spec, short_hash(&open_backbone(spec)?.sha256()?));
            }
            require_same(job, &hashes[spec], &source.join(RESULTS_FILE))?;
            copy(&source, &run)?;
            moa_core::files::write_whole(&run.join(DONE_FILE), "done")?;
            count += 1;
        }
    }
    Ok(count)
}

/// `hash` is that of the sweep's backbone, whose name and place may have changed.
fn require_same(job: &Job, hash: &str, path: &Path) -> Result<()> {
    let records = read_results(path)?;
    let last = records.last().with_context(|| format!("{}: no results", path.display()))?;
    let (config, args) = (&job.config, &last.args);
    let wanted = [
        ("the method", config.label() == args.algorithm),
        ("data.trial_seed", config.data.trial_seed == args.trial_seed),
        ("train.seed", config.train.seed == args.seed),
        ("train.hparams_seed", config.train.hparams_seed == args.hparams_seed),
        ("data.holdout", config.data.holdout == args.holdout_fraction),
        ("train.steps", Some(config.train.steps) == args.steps),
        ("train.eval_every", Some(config.train.eval_every) == args.checkpoint_freq),
        ("the last step", last.step + 1 == config.train.steps),
    ];
    let unlike = wanted.iter().find(|(_, same)| !same).map(|(name, _)| (*name).to_string());
    let mut wanted = hparams(config);
    wanted.remove("backbone");
    wanted.insert(BACKBONE_HASH.into(), hash.into());
    let unlike = unlike.or_else(|| {
        let other = |(key, value): &(String, Value)| last.hparams.get(key) != Some(value);
        wanted.into_iter().find(other).map(|(key, _)| key)
    });
    match unlike {
        Some(what) => anyhow::bail!("{}: {what} is not that of the sweep", path.display()),
        None => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let averaged = format!("{}/{RESULTS_FILE}", swad::FOLDER);
    for name in [RESULTS_FILE, &averaged, EVALUATION_FILE] {
        let (source, target) = (from.join(name), to.join(name));
        if !source.is_file() {
            continue; // weights were not averaged
        }
        let parent = target.parent().unwrap_or(to);
        std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        std::fs::copy(&source, &target).with_context(|| target.display().to_string())?;
    }
    Ok(())
}
