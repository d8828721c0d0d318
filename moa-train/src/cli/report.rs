//! `moa-train report`

use anyhow::Result;
use std::io::Write;
use std::path::PathBuf;

/// Tables of all runs below a folder, as DomainBed prints them
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train report runs/")]
pub struct Report {
    /// Folder with run folders at any depth, or one of them; report.md and report.html go there
    dir: PathBuf,
    /// Heading of the reports
    #[arg(long, value_name = "TEXT", default_value = "Domain generalisation")]
    title: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Report {
    pub fn run(self) -> Result<()> {
        let report = crate::report::write(&self.dir, &self.title)?;
        let mut out = std::io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string(&report)?),
            false => write!(out, "{}", report.to_wide_text()),
        }?;
        Ok(())
    }
}
