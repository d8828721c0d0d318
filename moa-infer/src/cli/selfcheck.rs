//! `moa-infer selfcheck`

use crate::exit::note;
use crate::machine::facts;
use anyhow::{Result, ensure};
use moa_core::device::DeviceSpec;
use moa_kernels::selfcheck::{Gap, Row, dtypes, run};
use std::io::Write;

/// Runs of each operation that must have the same bits.
const RUNS: usize = 20;

/// Check every operation on this machine's device against plain double precision, and print
/// a report to paste into an issue
#[derive(clap::Args)]
#[command(after_help = "Example: moa-infer selfcheck --device cuda")]
pub struct Selfcheck {
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

impl Selfcheck {
    pub fn run(self) -> Result<()> {
        let device = self.device.open()?;
        note(format_args!("device: {}", moa_core::device::name(&device)));
        let rows = run(&device, dtypes(&device), RUNS);
        print(&facts(&device), &rows, &mut std::io::stdout().lock())?;
        let (failed, all) = (failed(&rows), rows.len());
        ensure!(failed == 0, "{failed} of {all} checks failed");
        Ok(())
    }
}

fn failed(rows: &[Row]) -> usize {
    rows.iter().filter(|row| !row.passed()).count()
}

/// Markdown.
fn print(facts: &[(&str, String)], rows: &[Row], out: &mut impl Write) -> std::io::Result<()> {
    for (key, value) in facts {
        writeln!(out, "- {key}: {value}")?;
    }
    writeln!(out, "\n| operation | type | error | at most | gradient | at most | |")?;
    writeln!(out, "|---|---|---:|---:|---:|---:|---|")?;
    for row in rows {
        let gap = |gap: Option<Gap>| match gap {
            Some(gap) => format!("{:.1e} | {:.0e}", gap.found, gap.bound),
            None => "| ".into(),
        };
        let verdict = match (&row.wrong, row.passed()) {
            (Some(wrong), _) => format!("FAILED: {}", wrong.replace('|', "\\|")),
            (None, true) => "ok".into(),
            (None, false) => "FAILED".into(),
        };
        let dtype = row.dtype.as_str();
        let (value, gradient) = (gap(Some(row.value)), gap(row.gradient));
        writeln!(out, "| {} | {dtype} | {value} | {gradient} | {verdict} |", row.name)?;
    }
    let (failed, all) = (failed(rows), rows.len());
    writeln!(out, "\n{} of {all} checks passed, {RUNS} runs each.", all - failed)
}
