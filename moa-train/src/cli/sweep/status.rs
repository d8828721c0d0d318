//! `moa-train sweep status`

use crate::sweep::{Folder, status};
use anyhow::Result;
use std::io::Write;
use std::path::PathBuf;

/// How far a sweep is, which runs failed, and why
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train sweep status runs/pacs")]
pub struct Status {
    /// Folder of the sweep
    dir: PathBuf,
    /// Print JSON lines, one a run
    #[arg(long)]
    json: bool,
}

impl Status {
    pub fn run(self) -> Result<()> {
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
