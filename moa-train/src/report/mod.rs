//! Reports of many runs: tables as text, Markdown, CSV and LaTeX, and a page with pictures.
//!
//! | module | what |
//! |---|---|
//! | [`runs`] | the runs below a folder |
//! | [`formats`] | CSV and LaTeX |
//! | [`paired`] | two methods on the same splits |
//! | [`calibration`] | how honest probabilities are |
//! | [`figures`], [`svg`], [`page`] | `report.html` |
//! | [`tensorboard`] | the logs of runs as event files |
//! | [`remarks`] | what a reader must know |

pub mod calibration;
pub mod figures;
pub mod formats;
pub mod page;
pub mod paired;
mod remarks;
pub mod runs;
pub mod svg;
pub mod tensorboard;

pub use remarks::remarks;

use crate::protocol::record::Record;
use crate::protocol::report::Report;
use crate::protocol::select::Rule;
use crate::protocol::table::Table;
use anyhow::Result;
use figures::View;
use moa_infer::exit::note;
use std::path::Path;

/// Reads every `results.jsonl` below `dir`, writes all reports into it and notes
/// on stderr what a reader must know.
///
/// # Errors
/// If a results file is damaged, there is none, or a report cannot be written.
pub fn write(dir: &Path, title: &str) -> Result<Report> {
    let runs = runs::read(dir)?;
    let records: Vec<Record> = runs.iter().flat_map(|run| run.records.iter().cloned()).collect();
    anyhow::ensure!(!records.is_empty(), "{}: no results to report", dir.display());
    let report = Report::new(&records);
    let remarks = remarks(&records);
    remarks.iter().for_each(note);
    let about: Vec<String> = protocol(&records).into_iter().chain(remarks).collect();
    let lines = about.join("  \n");
    let files = [
        ("report.md", format!("# {title}\n\n{lines}\n\n{}", report.to_markdown())),
        ("report.csv", formats::csv(&report)),
        ("report.tex", formats::latex(&report)),
        ("report.html", page::html(title, &about, &report, &View::all(&report, &runs))),
    ];
    for (name, text) in files {
        let path = dir.join(name);
        moa_core::files::write_whole(&path, text)?;
    }
    Ok(report)
}

/// The tables of one selection rule, one per dataset.
pub fn tables(report: &Report, rule: Rule) -> impl Iterator<Item = &Table> {
    report.rules.iter().filter(move |r| r.rule == rule).flat_map(|r| &r.datasets)
}

/// Splits and seeds behind the numbers.
fn protocol(records: &[Record]) -> Vec<String> {
    let mut lines: Vec<String> = records
        .iter()
        .map(|r| {
            format!(
                "{}: {:.0} % of every environment held out for validation, split seed {}, seed {}, {} steps",
                r.args.dataset,
                100.0 * r.args.holdout_fraction,
                r.args.trial_seed,
                r.args.seed,
                r.args.steps.map_or("?".into(), |s| s.to_string()),
            )
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines
}
