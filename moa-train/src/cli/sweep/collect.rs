//! `moa-train sweep collect`

use crate::report;
use crate::sweep::{Folder, collect};
use anyhow::Result;
use moa_infer::exit::note;
use std::io::Write;
use std::path::PathBuf;

/// Copy the results of finished runs to a small folder and make the report there
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train sweep collect runs/pacs --out docs/pacs")]
pub struct Collect {
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
    pub fn run(self) -> Result<()> {
        let folder = Folder::open(&self.dir)?;
        let (count, all) = (collect::collect(&folder, &self.out)?, folder.jobs.len());
        note(format_args!("{count} of {all} runs are done"));
        let report = report::write(&self.out, &self.title)?;
        write!(std::io::stdout(), "{}", report.to_wide_text())?;
        Ok(())
    }
}
