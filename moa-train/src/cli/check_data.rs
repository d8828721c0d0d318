//! `moa-train check-data`

use crate::check::check;
use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use moa_infer::dataset::{Dataset, DatasetKind};
use moa_infer::exit::usage;
use std::io::Write;
use std::path::PathBuf;

/// Look at every image of a dataset: layout, counts, unreadable files, the same picture twice
///
/// Ends with 1 if an image cannot be read or is in two classes.
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train check-data --data PACS --dataset pacs")]
pub struct CheckData {
    /// Folder of the dataset: <environment>/<class>/<image>
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// pacs, vlcs, office_home, terra_incognita, domain_net or folder
    #[arg(long, value_name = "NAME", default_value = "folder")]
    dataset: String,
    /// Threads that read images; 0 for one per core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = threads)]
    workers: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Lines of each kind that are printed.
const MOST: usize = 20;

impl CheckData {
    pub fn run(self) -> Result<()> {
        let kind: DatasetKind = self.dataset.parse().map_err(|e| usage(format!("{e}")))?;
        let dataset = Dataset::open(kind, &self.data)?;
        let style = ProgressStyle::with_template("{pos}/{len} images {wide_bar} {eta}");
        let bar = ProgressBar::new(dataset.len() as u64);
        let bar = style.map_or(bar.clone(), |style| bar.with_style(style));
        let findings = check(&dataset, self.workers, || bar.inc(1));
        bar.finish_and_clear();
        let mut out = std::io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string(&findings)?)?,
            false => write!(out, "{}", findings.text(MOST))?,
        }
        let faults = findings.faults();
        ensure!(faults == 0, "{}: {faults} images to mend or remove", self.data.display());
        Ok(())
    }
}

fn threads(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(n) if n <= moa_infer::prefetch::MAX_WORKERS => Ok(n),
        _ => Err(format!("must be a number from 0 to {}", moa_infer::prefetch::MAX_WORKERS)),
    }
}
