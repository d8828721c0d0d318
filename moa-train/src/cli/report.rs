//! `moa-train report`

use crate::report::paired::compare;
use crate::report::{runs, tensorboard};
use anyhow::Result;
use moa_infer::exit::{note, usage};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// Tables of all runs below a folder, as DomainBed prints them
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train report runs/")]
pub struct Report {
    /// Folder with run folders at any depth, or one of them; report.md, .html, .csv and .tex go there
    dir: PathBuf,
    /// Heading of the reports
    #[arg(long, value_name = "TEXT", default_value = "Domain generalisation")]
    title: String,
    /// Compare two methods: the difference of the first and the second on the same splits, with
    /// its 95 % confidence interval
    #[arg(long, value_names = ["METHOD", "OTHER"], num_args = 2)]
    compare: Vec<String>,
    /// Write TensorBoard event files of all runs to this folder as well
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Report {
    pub fn run(self) -> Result<()> {
        let report = crate::report::write(&self.dir, &self.title)?;
        if let Some(dir) = &self.tensorboard {
            let count = tensorboard::write(&runs::read(&self.dir)?, dir)?;
            note(format_args!(
                "event files of {count} runs: tensorboard --logdir {}",
                dir.display()
            ));
        }
        let mut out = std::io::stdout().lock();
        if let [method, other] = &self.compare[..] {
            return self.compared(&report, (method, other), &mut out);
        }
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string(&report)?),
            false => write!(out, "{}", report.to_wide_text()),
        }?;
        Ok(())
    }

    /// A line for each rule and data set.
    fn compared(
        &self,
        report: &crate::protocol::report::Report,
        (method, other): (&String, &String),
        out: &mut impl Write,
    ) -> Result<()> {
        for name in [method, other] {
            let known = report.algorithms.join(", ");
            if !report.algorithms.contains(name) {
                return Err(usage(format!("--compare {name}: no such row; there are {known}")));
            }
        }
        for rule in &report.rules {
            for dataset in &report.datasets {
                let Some(found) = compare(rule, dataset, method, other) else { continue };
                let name = rule.rule.name();
                match self.json {
                    true => {
                        let line = json!({"rule": name, "dataset": dataset, "comparison": found});
                        writeln!(out, "{line}")?;
                    }
                    false => writeln!(
                        out,
                        "{dataset}, {name}: {} points ({} trials, {} runs of each)",
                        found.text(),
                        found.trials,
                        found.cells
                    )?,
                }
            }
        }
        Ok(())
    }
}
