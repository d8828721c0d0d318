//! A run from its configuration to its last checkpoint.

use super::cache::Cache;
use super::evaluation;
use super::events::{Events, truncate};
use super::plan::Plan;
use super::progress::Progress;
use super::record::{record, summary};
use super::signals::StopFlag;
use super::step::{Learner, Losses, step};
use super::waiting::{Awaited, Time};
use super::worth::{EVALUATION_FILE, Worth};
use crate::checkpoint::{self, State};
use crate::config::Config;
use crate::optim::Adam;
use crate::protocol::results::{RESULTS_FILE, append_record, read_results};
use crate::swad::Swad;
use anyhow::{Context, Result};
use moa_core::image::ImageError;
use moa_infer::predictor::Predictor;
use serde_json::{Map, json};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Locked by the process that works in a run folder.
pub const LOCK_FILE: &str = ".lock";

/// Written when a run has ended, as by DomainBed's `train.py`.
pub const DONE_FILE: &str = "done";

/// Another process has the run folder.
#[derive(Debug, thiserror::Error)]
#[error("{}: another process is at work in this run folder", .0.display())]
pub struct AtWork(PathBuf);

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// All steps are done.
    Done {
        /// Best validation accuracy and the step that had it.
        best: (f64, u64),
        /// What this process trained; nothing if it had all been done before.
        time: Time,
    },
    /// A signal came; a checkpoint was written after this many steps.
    Interrupted(u64),
}

/// A run in its folder.
pub struct Run {
    pub(super) plan: Plan,
    pub(super) dir: PathBuf,
    adam: Adam,
    pub(super) state: State,
    pub(super) swad: Option<Swad>,
    pub(super) events: Events,
    pub(super) cache: Option<Cache>,
    silent: bool,
    /// Held as long as the run is at work.
    _lock: File,
}

impl Run {
    /// Starts a run in `dir`, or takes it up from its newest whole checkpoint.
    /// `config_text` is written as `config.toml` of a new run.
    ///
    /// # Errors
    /// If the folder cannot be written, its checkpoints are damaged, or another
    /// process is at work in it.
    pub fn start(
        mut plan: Plan,
        dir: &Path,
        resume: bool,
        config_text: &str,
        silent: bool,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let lock = lock(&dir.join(LOCK_FILE))?;
        let config = dir.join("config.toml");
        if !(resume && config.is_file()) {
            moa_core::files::write_whole(&config, config_text)?;
        }
        let mut adam = Adam::new(&plan.config.optim, plan.model.trainable())?;
        let (state, swad) = match resume {
            true => plan.restore(&dir.join("checkpoints"), &mut adam)?,
            false => (State::default(), Swad::new(&plan.config.swad)),
        };
        if state.step == 0 {
            require_short(dir, &plan.config)?;
        }
        let evaluated = state.step - u64::from(state.pending_eval);
        for file in ["events.jsonl", RESULTS_FILE] {
            truncate(&dir.join(file), state.step, evaluated)?;
        }
        let events = Events::open(&dir.join("events.jsonl"))?;
        let (cache, dir) = (plan.kept.as_ref().map(Cache::new), dir.into());
        Ok(Self { plan, dir, adam, state, swad, events, cache, silent, _lock: lock })
    }

    /// Steps that are done.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// Trains to the end, or until a signal.
    ///
    /// # Errors
    /// If an image cannot be read, a loss is not finite, or the folder cannot be written.
    pub fn fit(mut self, stop: &StopFlag) -> Result<Outcome> {
        let config = self.plan.config.clone();
        let steps = config.train.steps;
        let mut progress =
            Progress::new(self.state.step, steps, config.train.eval_every, self.silent);
        if self.state.pending_eval {
            if !self.evaluate(stop, &mut progress)? {
                return self.interrupted();
            }
            self.checkpoint()?;
        }
        let size = (self.plan.preprocess.height, self.plan.preprocess.width);
        let first = (self.state.step * config.train.accumulate) as u32;
        let loader = self.plan.batches().start(first, config.data.workers);
        let loader = loader.map(|batch| batch.context("a training image cannot be read"));
        let (mut loader, mut time) = (Awaited::new(loader), Time::default());
        while self.state.step < steps {
            let (at, started) = (self.state.step, Instant::now());
            let (model, device) = (&self.plan.model, &self.plan.device);
            let miro = self.plan.miro.as_mut();
            let learner = Learner { model, adam: &mut self.adam, miro };
            let done = step(learner, &config, size, &mut loader, at, device);
            let (losses, images) = self.keep(done).with_context(|| format!("step {}", at + 1))?;
            let (trained, waited) = (started.elapsed().as_secs_f64(), loader.take_seconds());
            self.count(&losses, trained);
            if let Some(swad) = &mut self.swad {
                swad.step(&self.plan.weights())?;
            }
            progress.step(at, &losses, images, trained);
            self.events.step(at, &losses, images, &Time { trained, waited })?;
            time.trained += trained;
            time.waited += waited;

            let last = self.state.step == steps;
            self.state.pending_eval = last || at.is_multiple_of(config.train.eval_every);
            if self.state.pending_eval && !self.evaluate(stop, &mut progress)? {
                return self.interrupted();
            }
            if stop.is_set() && !last {
                return self.interrupted();
            }
            if last || self.state.step.is_multiple_of(config.checkpoint.every) {
                self.checkpoint()?;
            }
        }
        if !self.average(stop, &mut progress)? {
            return self.interrupted();
        }
        moa_core::files::write_whole(&self.dir.join(DONE_FILE), "done")?;
        Ok(Outcome::Done { best: self.state.best.context("no evaluation was made")?, time })
    }

    fn count(&mut self, losses: &Losses, seconds: f64) {
        self.state.step += 1;
        self.state.losses.0 += losses.total();
        self.state.losses.1 += 1;
        self.state.seconds += seconds;
    }

    /// If an image could not be read, writes a checkpoint: once it is mended, the run
    /// goes on from here.
    fn keep<T>(&self, done: Result<T>) -> Result<T> {
        if done.as_ref().is_err_and(|e| e.is::<ImageError>()) && self.state.step > 0 {
            self.checkpoint()?;
        }
        done
    }

    fn checkpoint(&self) -> Result<()> {
        // What was told until now must not be lost before what is kept here.
        self.events.sync()?;
        let results = self.dir.join(RESULTS_FILE);
        if results.exists() {
            moa_core::files::sync(&results)?;
        }
        let adapter = self.plan.adapter(self.state.step.saturating_sub(1))?;
        let (dir, keep) = (self.dir.join("checkpoints"), self.plan.config.checkpoint.keep);
        let optimizer = self.plan.optimizer(&self.adam);
        checkpoint::write(&dir, &adapter, &optimizer, &self.state, self.swad.as_ref(), keep)
    }

    fn interrupted(self) -> Result<Outcome> {
        self.checkpoint()?;
        Ok(Outcome::Interrupted(self.state.step))
    }

    /// Evaluates the step just done; false if a signal came before the end.
    fn evaluate(&mut self, stop: &StopFlag, progress: &mut Progress) -> Result<bool> {
        let (plan, at) = (&self.plan, self.state.step - 1);
        let predictor = Predictor::of(plan.model.clone(), plan.preprocess.clone(), &plan.device);
        let started = Instant::now();
        let cache = self.cache.as_mut();
        let found = evaluation::run(&predictor, &plan.data, &plan.config, cache, stop);
        let Some(evaluation) = self.keep(found)? else { return Ok(false) };
        let seconds = started.elapsed().as_secs_f64();
        if let Some(swad) = &mut self.swad {
            swad.close(evaluation.train_out_loss)?;
        }
        let record = record(plan, &self.state, at, &evaluation);
        append_record(&self.dir.join(RESULTS_FILE), &record)?;
        // The first maximum wins, as in the paper's selection.
        let better = self.state.best.is_none_or(|(best, _)| evaluation.train_out > best);
        if better {
            self.state.best = Some((evaluation.train_out, at));
            let mut adapter = self.plan.adapter(at)?;
            adapter.card.temperature = Some(evaluation.temperature);
            adapter.write(&self.dir.join("best"))?;
            let worth = Worth::new(&self.plan, at, &evaluation);
            crate::run_file::write(&self.dir, EVALUATION_FILE, &worth)?;
        }
        let names = plan.data.dataset.envs.iter().map(|env| env.name.as_str());
        let envs: Map<_, _> = names
            .zip(&evaluation.envs)
            .map(|(name, acc)| (name.into(), json!({"in": acc.in_acc, "out": acc.out_acc})))
            .collect();
        self.events.line(&json!({
            "kind": "eval",
            "step": at,
            "train_out": evaluation.train_out,
            "best": better,
            "envs": envs,
            "seconds": seconds,
        }))?;
        progress.evaluated(&summary(&self.plan, at, &evaluation, better), seconds);
        self.state.pending_eval = false;
        self.state.losses = (0.0, 0);
        self.state.seconds = 0.0;
        Ok(true)
    }
}

/// Without a checkpoint a run starts from its beginning; results that took longer
/// than a checkpoint must not be thrown away for that.
fn require_short(dir: &Path, config: &Config) -> Result<()> {
    let path = dir.join(RESULTS_FILE);
    let records = if path.is_file() { read_results(&path)? } else { Vec::new() };
    let done = records.iter().map(|r| r.step + 1).max().unwrap_or(0);
    anyhow::ensure!(
        done < config.checkpoint.every.min(config.train.steps).max(2),
        "{}: has results of {done} steps but no checkpoint to go on from; choose another --out",
        dir.display()
    );
    Ok(())
}

/// Two processes in one folder would mix their files. The system lets go of the
/// lock however the process ends.
fn lock(path: &Path) -> Result<File> {
    let file = File::options().create(true).write(true).truncate(false).open(path);
    let file = file.with_context(|| path.display().to_string())?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(AtWork(path.parent().unwrap_or(path).into()).into());
    }
    Ok(file) // a file system without locks is no reason to refuse
}
