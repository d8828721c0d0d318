//! `moa-train sweep run`

use crate::fit::signals::StopFlag;
use crate::sweep::slurm::Slurm;
use crate::sweep::worker::{Options, Tally};
use crate::sweep::{Folder, team, work};
use anyhow::{Result, ensure};
use clap::ValueEnum;
use moa_infer::exit::{note, usage};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

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
pub struct Run {
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
    pub fn run(self) -> Result<()> {
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
