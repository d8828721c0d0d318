//! `moa-train sweep plan`

use crate::sweep::estimate::{cost, kinds};
use crate::sweep::{Folder, SweepFile, collect, jobs};
use anyhow::Result;
use moa_infer::exit::{note, usage};
use moa_infer::spec::{recorded, whole};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// Print the runs of a sweep, what they train and how long they will take, and write the folder
/// that workers share
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train sweep plan examples/pacs_tiny.toml --out runs/pacs")]
pub struct Plan {
    /// TOML file: [sweep], and keys of `fit` for all runs
    file: PathBuf,
    /// Folder of the sweep; without it nothing is written
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Set a key of the file; repeat for several
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder of `sweep collect` with results that need no run
    #[arg(long, value_name = "DIR", requires = "out")]
    results: Option<PathBuf>,
    /// Do not train a few steps of each method to see how long they take
    #[arg(long)]
    no_timing: bool,
    /// Print the name of every run
    #[arg(long)]
    jobs: bool,
    /// Print JSON lines, one a method
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub fn run(self) -> Result<()> {
        let mut file = SweepFile::read(&self.file, &self.set).map_err(|e| usage(e.to_string()))?;
        file.relocate(|root| Ok(whole(root)), recorded)?;
        // Every kind of run is built before anything is written.
        let all = jobs::expand(&file)?;
        let mut out = std::io::stdout().lock();
        let wide = kinds(&all).iter().map(|k| k.job.config.label().len()).max().unwrap_or(0);
        if !self.json {
            let head = ["jobs", "parameters", "MB", "s/step", "hours"];
            let [jobs, parameters, memory, step, hours] = head;
            writeln!(
                out,
                "{:16} {:wide$} {jobs:>5} {parameters:>11} {memory:>6} {step:>7} {hours:>7}",
                "dataset", "method"
            )?;
        }
        let mut total = 0.0;
        for kind in kinds(&all) {
            let (config, count) = (&kind.job.config, kind.count);
            let cost = cost(config, !self.no_timing)?;
            let (dataset, method) = (&config.data.dataset, config.label());
            let hours = cost.hours * count as f64;
            total += hours;
            if self.json {
                let line = json!({"dataset": dataset, "method": method, "jobs": count,
                    "total_hours": hours, "run": cost});
                writeln!(out, "{line}")?;
                continue;
            }
            let timed = |text: String| if self.no_timing { "-".into() } else { text };
            let (step, hours) =
                (timed(format!("{:.2}", cost.step_s)), timed(format!("{hours:.2}")));
            let (parameters, memory) = (cost.parameters, cost.memory.div_ceil(1_000_000));
            writeln!(
                out,
                "{dataset:16} {method:wide$} {count:>5} {parameters:>11} {memory:>6} {step:>7} {hours:>7}"
            )?;
        }
        if !self.json {
            let time = if self.no_timing {
                String::new()
            } else {
                format!(", {total:.1} hours by one worker on this machine")
            };
            writeln!(out, "{} runs{time}", all.len())?;
            if self.jobs {
                all.iter().try_for_each(|job| writeln!(out, "{}", job.name))?;
            }
        }
        let Some(dir) = &self.out else { return Ok(()) };
        let folder = Folder::plan(dir, &file)?;
        if let Some(results) = &self.results {
            let count = collect::adopt(&folder, results)?;
            note(format_args!("{count} runs are done: {}", results.display()));
        }
        note(format_args!("next: moa-train sweep run {}", dir.display()));
        Ok(())
    }
}
