//! How far a sweep is.

use super::claim::{self, Claims};
use super::folder::Folder;
use super::jobs::Job;
use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What a job is at.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// Ended well.
    Done,
    /// Ended without a result.
    Failed {
        /// One line.
        reason: String,
        /// Where.
        host: String,
    },
    /// A worker is at it.
    Running {
        /// Its machine.
        host: String,
        /// Its process.
        pid: u32,
        /// Workers that have begun it in a row, this one included.
        attempt: u32,
    },
    /// Its worker is over; the next one takes it up.
    Dead {
        /// The machine of the worker.
        host: String,
    },
    /// Nobody is at it.
    Waiting,
}

/// A job and what it is at.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its folder.
    pub job: String,
    /// Its method, as `sweep.methods` names it, and dataset.
    pub method: String,
    /// The dataset.
    pub dataset: String,
    /// Steps that are done.
    pub step: u64,
    /// All its steps.
    pub steps: u64,
    /// What it is at.
    #[serde(flatten)]
    pub state: State,
}

/// One line for each job.
///
/// # Errors
/// If claims cannot be read.
pub fn lines(folder: &Folder) -> Result<Vec<Line>> {
    let dir = folder.claims();
    let known = Claims::list(&dir)?;
    let line = |job: &Job| {
        let state = match (folder.is_done(job), folder.failure(job)) {
            (true, _) => State::Done,
            (false, Some(failure)) => State::Failed { reason: failure.reason, host: failure.host },
            (false, None) => match claim::newest(&dir, &job.name, &known)?.and_then(|f| f.claim) {
                Some(claim) if claim.owner.is_over() => State::Dead { host: claim.owner.host },
                Some(claim) => State::Running {
                    host: claim.owner.host,
                    pid: claim.owner.pid,
                    attempt: claim.attempt,
                },
                None => State::Waiting,
            },
        };
        let step = last_step(&folder.run(job).join("events.jsonl")).map_or(0, |step| step + 1);
        Ok(Line {
            job: job.name.clone(),
            method: job.config.label(),
            dataset: job.config.data.dataset.clone(),
            step,
            steps: job.config.train.steps,
            state,
        })
    };
    folder.jobs.iter().map(line).collect()
}

/// The step of the last line of a run's log.
fn last_step(path: &Path) -> Option<u64> {
    const TAIL: u64 = 1 << 16;
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let steps = text.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    steps.filter_map(|line| line.get("step")?.as_u64()).next()
}

/// Counts by dataset and method, then what is running, then what failed and why.
pub fn text(lines: &[Line]) -> String {
    let mut rows: BTreeMap<(&str, &str), [usize; 5]> = BTreeMap::new();
    let mut sum = [0; 5];
    for line in lines {
        let place = match line.state {
            State::Done => 1,
            State::Running { .. } => 2,
            State::Waiting | State::Dead { .. } => 3,
            State::Failed { .. } => 4,
        };
        let row = rows.entry((&line.dataset, &line.method)).or_default();
        for counts in [row, &mut sum] {
            counts[0] += 1;
            counts[place] += 1;
        }
    }
    let wide = rows.keys().map(|(_, method)| method.len()).max().unwrap_or(0).max(6);
    let mut out = format!(
        "{:16} {:wide$} {:>6} {:>6} {:>8} {:>8} {:>7}\n",
        "dataset", "method", "jobs", "done", "running", "waiting", "failed"
    );
    let mut row = |(dataset, method): (&str, &str), n: &[usize; 5]| {
        let [all, done, running, waiting, failed] = n;
        out.push_str(&format!(
            "{dataset:16} {method:wide$} {all:>6} {done:>6} {running:>8} {waiting:>8} {failed:>7}\n"
        ));
    };
    rows.iter().for_each(|(names, counts)| row(*names, counts));
    if rows.len() > 1 {
        row(("", "all"), &sum);
    }
    for line in lines {
        let at = format!("step {} of {}", line.step, line.steps);
        let words = match &line.state {
            State::Running { host, pid, attempt } => {
                let again =
                    if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                format!("running: {at}, {host} process {pid}{again}")
            }
            State::Dead { host } => format!("its worker on {host} died at {at}"),
            State::Failed { reason, host } => format!("failed on {host}: {reason}"),
            State::Waiting if line.step > 0 => format!("interrupted: {at}"),
            State::Waiting | State::Done => continue,
        };
        out.push_str(&format!("{}  {words}\n", line.job));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_table() {
        let line = |method: &str, step, state| Line {
            job: format!("job_{method}"),
            method: method.into(),
            dataset: "pacs".into(),
            step,
            steps: 9,
            state,
        };
        let failed = State::Failed { reason: "no space".into(), host: "a".into() };
        let running = State::Running { host: "b".into(), pid: 3, attempt: 2 };
        let lines =
            [line("lora", 9, State::Done), line("lora", 4, failed), line("full", 2, running)];
        let found = text(&lines);
        let wanted = "\
dataset          method   jobs   done  running  waiting  failed
pacs             full        1      0        1        0       0
pacs             lora        2      1        0        0       1
                 all         3      1        1        0       1
job_lora  failed on a: no space
job_full  running: step 2 of 9, b process 3, attempt 2
";
        assert_eq!(found, wanted);
    }
}
