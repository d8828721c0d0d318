//! `moa-train sweep`

use crate::fit::signals::StopFlag;
use crate::report;
use crate::sweep::estimate::{cost, kinds};
use crate::sweep::slurm::Slurm;
use crate::sweep::worker::{Options, Tally};
use crate::sweep::{Folder, SweepFile, collect, jobs, status, team, work};
use anyhow::{Result, ensure};
use clap::{Subcommand, ValueEnum};
use moa_infer::exit::{note, usage};
use moa_infer::spec::{recorded, whole};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Many runs: methods x datasets x environments left out x trials x hyper-parameters
#[derive(clap::Args)]
pub struct Sweep {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Plan(Plan),
    Run(Run),
    Status(Status),
    Collect(Collect),
}

impl Sweep {
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Plan(command) => command.run(),
            Command::Run(command) => command.run(),
            Command::Status(command) => command.run(),
            Command::Collect(command) => command.run(),
        }
    }
}

/// Print the runs of a sweep, what they train and how long they will take, and write the folder
/// that workers share
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train sweep plan examples/pacs_tiny.toml --out runs/pacs")]
struct Plan {
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
    fn run(self) -> Result<()> {
        let mut file = SweepFile::read(&self.file, &self.set).map_err(|e| usage(e.to_string()))?;
        file.relocate(|root| Ok(whole(root)), recorded)?;
        // Every kind of run is built before anything is written.
        let all = jobs::expand(&file)?;
        let mut out = std::io::stdout().lock();
        let wide = kinds(&all).iter().map(|k| k.job.config.method.label().len()).max().unwrap_or(0);
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
            let (dataset, method) = (&config.data.dataset, config.method.label());
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

#[derive(Clone, Copy, ValueEnum)]
enum Launcher {
    /// Processes of this machine
    Local,
    /// A job array
    Slurm,
}

/// Do the runs of a sweep, beside any number of other workers on the same folder
///
/// A worker that dies is followed by another one, which goes on from the last checkpoint. The
/// program ends when no run is left: with 0, or with 1 if runs failed.
#[derive(clap::Args)]
#[command(
    after_help = "Example: moa-train sweep run runs/pacs --workers 2 --device cuda:0 --device cuda:1"
)]
struct Run {
    /// Folder of the sweep
    dir: PathBuf,
    /// Workers: processes of this machine, or of the job array; by default one for each --device
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Where to compute, in place of `train.device`: cpu, cuda:0, ...; repeat for several workers
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,
    /// Who starts workers
    #[arg(long, value_enum, default_value = "local")]
    launcher: Launcher,
    /// An option of sbatch, such as --sbatch=--time=4:00:00; repeat for several
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    sbatch: Vec<String>,
    /// Try runs again that failed
    #[arg(long)]
    retry: bool,
    /// End when all runs that are left are other workers'
    #[arg(long)]
    no_wait: bool,
    /// One of several workers that one program has started
    #[arg(long, hide = true)]
    member: bool,
    /// Seconds between a worker's signs of life; after six that are missing it counts as dead
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    heartbeat: f64,
}

impl Run {
    fn run(self) -> Result<()> {
        if !(0.01..=3600.0).contains(&self.heartbeat) {
            return Err(usage("--heartbeat must be from 0.01 to 3600"));
        }
        let folder = Folder::open(&self.dir)?;
        if self.retry {
            note(format_args!("{} runs that failed are tried again", folder.forget_failures()?));
        }
        if matches!(self.launcher, Launcher::Slurm) {
            return self.slurm();
        }
        if !self.sbatch.is_empty() {
            return Err(usage("--sbatch needs --launcher slurm"));
        }
        let mut options = Options {
            device: None,
            wait: !self.no_wait,
            heartbeat: Duration::from_secs_f64(self.heartbeat),
        };
        let count = self.workers.map_or(self.device.len(), usize::from);
        let stop = StopFlag::listen()?;
        let tally = if count <= 1 {
            options.device = self.device.first().cloned();
            work(&folder, &options, &stop, |line| note(line))?
        } else {
            let device = |i: usize| match self.device.len() {
                0 => None,
                n => Some(self.device[i % n].clone()),
            };
            let devices: Vec<_> = (0..count).map(device).collect();
            team::run(&folder, &devices, &options, &stop)?
        };
        self.ended(tally)
    }

    fn ended(&self, tally: Tally) -> Result<()> {
        if self.member {
            return Ok(()); // the program that started it counts
        }
        let Tally { done, failed, open } = tally;
        let dir = self.dir.display();
        let rest = if open > 0 { format!(", {open} left to other workers") } else { String::new() };
        writeln!(std::io::stdout(), "{done} runs done, {failed} failed{rest}")?;
        ensure!(
            failed == 0,
            "{failed} runs failed: `moa-train sweep status {dir}` says why, \
            `moa-train sweep run {dir} --retry` tries them again"
        );
        Ok(())
    }

    fn slurm(&self) -> Result<()> {
        if self.device.len() > 1 {
            return Err(usage("--launcher slurm: each worker has one --device, that of its task"));
        }
        let mut options = vec!["--heartbeat".into(), self.heartbeat.to_string()];
        options.extend(self.device.iter().flat_map(|device| ["--device".into(), device.clone()]));
        let workers = self.workers.map_or(1, usize::from);
        let slurm = Slurm { dir: &self.dir, workers, options: &options, sbatch: &self.sbatch };
        let (script, said) = slurm.submit()?;
        note(format_args!("script: {}", script.display()));
        writeln!(std::io::stdout(), "{said}")?;
        Ok(())
    }
}

/// How far a sweep is, which runs failed, and why
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train sweep status runs/pacs")]
struct Status {
    /// Folder of the sweep
    dir: PathBuf,
    /// Print JSON lines, one a run
    #[arg(long)]
    json: bool,
}

impl Status {
    fn run(self) -> Result<()> {
        let lines = status::lines(&Folder::open(&self.dir)?)?;
        let mut out = std::io::stdout().lock();
        match self.json {
            true => lines.iter().try_for_each(|line| {
                writeln!(out, "{}", serde_json::to_string(line)?)?;
                anyhow::Ok(())
            }),
            false => Ok(write!(out, "{}", status::text(&lines))?),
        }
    }
}

/// Copy the results of finished runs to a small folder and make the report there
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train sweep collect runs/pacs --out docs/pacs")]
struct Collect {
    /// Folder of the sweep
    dir: PathBuf,
    /// Folder to copy to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Heading of the reports
    #[arg(long, value_name = "TEXT", default_value = "Domain generalisation")]
    title: String,
}

impl Collect {
    fn run(self) -> Result<()> {
        let folder = Folder::open(&self.dir)?;
        let (count, all) = (collect::collect(&folder, &self.out)?, folder.jobs.len());
        note(format_args!("{count} of {all} runs are done"));
        let report = report::write(&self.out, &self.title)?;
        write!(std::io::stdout(), "{}", report.to_wide_text())?;
        Ok(())
    }
}
