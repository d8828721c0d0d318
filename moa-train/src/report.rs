//! `report.md` and `report.html` of many runs.

mod remarks;

pub use remarks::remarks;

use crate::protocol::record::Record;
use crate::protocol::report::Report;
use crate::protocol::results::read_sweep;
use crate::protocol::select::Rule;
use crate::protocol::table::Table;
use anyhow::Result;
use moa_infer::exit::note;
use std::path::Path;

/// Reads every `results.jsonl` below `dir`, writes both reports into it and notes
/// on stderr what a reader must know.
///
/// # Errors
/// If a results file is damaged, there is none, or a report cannot be written.
pub fn write(dir: &Path, title: &str) -> Result<Report> {
    let records = read_sweep(dir)?;
    anyhow::ensure!(!records.is_empty(), "{}: no results to report", dir.display());
    let report = Report::new(&records);
    let remarks = remarks(&records);
    remarks.iter().for_each(note);
    let about: Vec<String> = protocol(&records).into_iter().chain(remarks).collect();
    let lines = about.join("  \n");
    let files = [
        ("report.md", format!("# {title}\n\n{lines}\n\n{}", report.to_markdown())),
        ("report.html", html(title, &about, &report)),
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

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;\
    padding:0 1rem;color:#1a1a1a;background:#fff}table{border-collapse:collapse;margin:1rem 0}\
    th,td{padding:.35rem .8rem;border-bottom:1px solid #d0d0d0;text-align:right}\
    th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid #555}\
    p{color:#444}";

fn html(title: &str, about: &[String], report: &Report) -> String {
    let mut body = format!("<h1>{}</h1>\n", escaped(title));
    for line in about {
        body.push_str(&format!("<p>{}</p>\n", escaped(line)));
    }
    body.push_str(
        "<p>Accuracy in percent on the environment that was left out: mean &plusmn; standard \
         error over trials.</p>\n",
    );
    for rule in Rule::ALL {
        // Leave-one-domain-out selection needs runs that few people make.
        let filled = |table: &&Table| table.rows.iter().flat_map(|r| &r.cells).any(|c| c.n > 0);
        for table in tables(report, rule).filter(filled) {
            body.push_str(&format!("<h2>{}</h2>\n", escaped(&table.title)));
            body.push_str(&html_table(table));
        }
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{}</title><style>{STYLE}</style></head>\n<body>\n\
         {body}</body></html>\n",
        escaped(title)
    )
}

fn html_table(table: &Table) -> String {
    let mut text = String::from("<table>\n<thead><tr><th>Algorithm</th>");
    for column in table.columns.iter().map(String::as_str).chain(["Avg"]) {
        text.push_str(&format!("<th>{}</th>", escaped(column)));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        text.push_str(&format!("<tr><td>{}</td>", escaped(&row.algorithm)));
        let cells = row.cells.iter().map(|cell| cell.text());
        for cell in cells.chain([row.average_text()]) {
            text.push_str(&format!("<td>{}</td>", escaped(&cell).replace("+/-", "&plusmn;")));
        }
        text.push_str("</tr>\n");
    }
    text + "</tbody></table>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
