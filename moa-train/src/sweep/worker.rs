//! A worker: takes jobs as long as there are any.

use super::claim::{Claims, Held};
use super::folder::{Failure, Folder};
use super::jobs::Job;
use super::owner::host;
use crate::checkpoint;
use crate::cli::on_big_stack;
use crate::config::saved;
use crate::fit::signals::StopFlag;
use crate::fit::{AtWork, Outcome, Plan, Run};
use anyhow::{Context, Result};
use moa_infer::exit::{self, Exit, INTERRUPTED, usage};
use std::time::Duration;

/// Workers that may die at a job, without getting any further, before it counts as failed.
const ATTEMPTS: u32 = 5;
/// Signs of life that a worker waits for another process to leave a run folder.
const PATIENCE: u32 = 20;

/// How a worker works.
#[derive(Clone, Debug)]
pub struct Options {
    /// In place of the jobs' `train.device`.
    pub device: Option<String>,
    /// Whether to wait for jobs of other workers, which may die.
    pub wait: bool,
    /// Time between signs of life.
    pub heartbeat: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { device: None, wait: true, heartbeat: Duration::from_secs(10) }
    }
}

/// What became of the jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ended well.
    pub done: usize,
    /// Failed.
    pub failed: usize,
    /// Other workers are at them.
    pub open: usize,
}

impl Tally {
    /// Of a sweep as it is now.
    pub fn of(folder: &Folder) -> Self {
        let mut tally = Self::default();
        for job in &folder.jobs {
            match (folder.is_done(job), folder.failure(job)) {
                (true, _) => tally.done += 1,
                (false, Some(_)) => tally.failed += 1,
                (false, None) => tally.open += 1,
            }
        }
        tally
    }
}

/// Does jobs until all are done or failed (or, without `wait`, others are at all that are
/// left). `say` is told what happens.
///
/// # Errors
/// If a signal came, or the folder cannot be used; a job that fails is no error.
pub fn work(
    folder: &Folder,
    options: &Options,
    stop: &StopFlag,
    mut say: impl FnMut(&str),
) -> Result<Tally> {
    let mut claims = Claims::new(&folder.claims(), options.heartbeat)?;
    loop {
        let mut worked = false;
        let known = claims.known()?;
        for job in &folder.jobs {
            interrupted(stop)?;
            let numbers = known.get(&job.name).map_or(&[][..], Vec::as_slice);
            if is_over(folder, job) {
                claims.clear(&job.name, numbers)?;
                continue;
            }
            let own = stop.child();
            let lost = own.clone();
            let steps = checkpoint::list(&folder.run(job).join("checkpoints"))?;
            let at = steps.last().map_or(0, |(step, _)| *step).to_string();
            let job_at = (job.name.as_str(), at.as_str());
            let Some(held) = claims.take(job_at, numbers, move || lost.set())? else { continue };
            // It may have ended since it was looked at.
            if !is_over(folder, job) {
                worked = one(folder, job, options, &held, &own, &mut say)?;
                interrupted(stop)?;
            }
            if worked {
                break; // what is known of claims is old by now
            }
        }
        let tally = Tally::of(folder);
        if tally.open == 0 || (!worked && !options.wait) {
            return Ok(tally);
        }
        if !worked {
            pause(options.heartbeat, stop);
        }
    }
}

fn is_over(folder: &Folder, job: &Job) -> bool {
    folder.is_done(job) || folder.failure(job).is_some()
}

fn interrupted(stop: &StopFlag) -> Result<()> {
    match stop.is_set() {
        true => {
            let message = "interrupted; the same command goes on".to_string();
            Err(Exit { code: INTERRUPTED, message }.into())
        }
        false => Ok(()),
    }
}

fn pause(time: Duration, stop: &StopFlag) {
    let part = Duration::from_millis(50);
    let mut left = time;
    while !stop.is_set() && !left.is_zero() {
        std::thread::sleep(left.min(part));
        left = left.saturating_sub(part);
    }
}

/// Does one job; false if it could not be begun.
fn one(
    folder: &Folder,
    job: &Job,
    options: &Options,
    held: &Held,
    stop: &StopFlag,
    say: &mut impl FnMut(&str),
) -> Result<bool> {
    let mut left = PATIENCE;
    let ended = loop {
        if held.attempt > ATTEMPTS {
            let died = held.attempt - 1;
            break Err(anyhow::anyhow!(
                "{died} workers died at it; the log of the system may say why"
            ));
        }
        match train(folder, job, options, stop) {
            // Who had the job before has not yet seen that it is taken over.
            Err(e) if e.is::<AtWork>() && left > 0 && !stop.is_set() => {
                left -= 1;
                pause(options.heartbeat, stop);
            }
            Err(e) if e.is::<AtWork>() => {
                say(&format!("{}: {}", job.name, exit::line(&e)));
                return Ok(false);
            }
            ended => break ended,
        }
    };
    match ended {
        Ok(Outcome::Done { best: (accuracy, step), .. }) => {
            let tally = Tally::of(folder);
            let (over, all) = (tally.done + tally.failed, folder.jobs.len());
            let best = format!("validation {:.1} % after step {}", 100.0 * accuracy, step + 1);
            say(&format!("[{over}/{all}] {}: {best}", job.name));
        }
        Ok(Outcome::Interrupted(step)) if held.is_lost() => {
            say(&format!("{}: taken over by another worker after step {step}", job.name));
        }
        Ok(Outcome::Interrupted(step)) => {
            say(&format!("{}: interrupted after step {step}", job.name));
        }
        Err(error) => {
            let (reason, code) = (exit::line(&error), exit::code(&error));
            folder.fail(job, &Failure { reason: reason.clone(), code, host: host() })?;
            say(&format!("{}: failed: {reason}", job.name));
        }
    }
    Ok(true)
}

/// On a thread of its own, so that a fault in one job is not the end of the others.
fn train(folder: &Folder, job: &Job, options: &Options, stop: &StopFlag) -> Result<Outcome> {
    let (dir, job, stop) = (folder.run(job), job.clone(), stop.clone());
    let device = options.device.clone();
    on_big_stack(move || {
        let path = dir.join("config.toml");
        let begun = path.is_file();
        if begun {
            let same = saved::require_same(&path, &job.config);
            same.map_err(|e| usage(format!("{e}; choose another folder")))?;
        }
        let mut config = job.config;
        config.train.device = device.unwrap_or(config.train.device);
        let run = Run::start(Plan::new(config)?, &dir, begun, &job.text, true)?;
        run.fit(&stop).with_context(|| dir.display().to_string())
    })
}
