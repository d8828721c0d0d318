//! `report.html`: one file with everything in it.

use super::calibration::{self, Worths};
use super::figures::{self, Figure, View};
use super::formats::{full, is_filled};
use super::paired::compare;
use super::svg::escaped;
use crate::protocol::report::{Report, RuleReport};
use crate::protocol::select::Rule;
use crate::protocol::table::Table;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;\
    padding:0 1rem;color:#1a1a1a;background:#fff}table{border-collapse:collapse;margin:1rem 0}\
    th,td{padding:.35rem .8rem;border-bottom:1px solid #d0d0d0;text-align:right}\
    th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid #555}\
    p,figcaption{color:#444}figure{margin:1.5rem 0}figure svg{max-width:100%;height:auto}\
    .scroll{overflow-x:auto}";

/// The page.
pub fn html(title: &str, about: &[String], report: &Report, views: &[View<'_>]) -> String {
    let mut body = format!("<h1>{}</h1>\n", escaped(title));
    for line in about {
        body.push_str(&format!("<p>{}</p>\n", escaped(line)));
    }
    body.push_str(
        "<p>Accuracy in percent on the environment that was left out: mean &plusmn; standard \
         error over trials. X: no run.</p>\n",
    );
    for rule in Rule::ALL {
        // Leave-one-domain-out selection needs runs that few people make.
        for table in super::tables(report, rule).filter(|table| is_filled(table)) {
            body.push_str(&format!("<h2>{}</h2>\n{}", escaped(&table.title), accuracies(table)));
        }
    }
    for view in views {
        if let Some(rule) = report.rules.first() {
            body.push_str(&comparisons(rule, view));
        }
        body.push_str(&calibrations(&calibration::of(view), view));
        figures::all(view).iter().for_each(|figure| body.push_str(&drawn(figure)));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\"><title>{}</title>\
         <style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n",
        escaped(title)
    )
}

fn drawn(figure: &Figure) -> String {
    format!(
        "<figure id=\"{}\"><h2>{}</h2><div class=\"scroll\">{}</div><figcaption>{}</figcaption></figure>\n",
        figure.id,
        escaped(&figure.title),
        figure.svg,
        escaped(&figure.caption)
    )
}

fn accuracies(table: &Table) -> String {
    let full = full(table);
    let head: Vec<String> = table.columns.iter().cloned().chain(["Avg".into()]).collect();
    let rows = table.rows.iter().map(|row| {
        let cell = |cell: &crate::protocol::table::Cell| match cell.n {
            n if n == 0 || n == full => cell.text(),
            n => format!("{} (n = {n})", cell.text()),
        };
        let cells = row.cells.iter().map(cell).chain([row.average_text()]);
        (row.algorithm.clone(), cells.collect())
    });
    let text = format!("Algorithm (n = {full})");
    table_of(&text, &head, rows)
}

/// Rows of text; `+/-` becomes a sign.
fn table_of(
    first: &str,
    head: &[String],
    rows: impl Iterator<Item = (String, Vec<String>)>,
) -> String {
    let cell = |tag: &str, text: &str| {
        format!("<{tag}>{}</{tag}>", escaped(text).replace("+/-", "&plusmn;"))
    };
    let head: String = head.iter().map(|text| cell("th", text)).collect();
    let mut out = format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{}{head}</tr></thead>\n<tbody>\n",
        cell("th", first)
    );
    for (name, cells) in rows {
        let cells: String = cells.iter().map(|text| cell("td", text)).collect();
        out.push_str(&format!("<tr>{}{cells}</tr>\n", cell("td", &name)));
    }
    out + "</tbody></table></div>\n"
}

/// Every method against every other, if any two have an environment and a trial in common.
fn comparisons(rule: &RuleReport, view: &View<'_>) -> String {
    let names: Vec<String> = view.methods.iter().map(|method| method.name.to_owned()).collect();
    let row = |name: &String| {
        let cell = |other: &String| match compare(rule, view.dataset, name, other) {
            Some(found) if name != other => found.text() + if found.is_clear() { " *" } else { "" },
            _ => String::new(),
        };
        (name.clone(), names.iter().map(cell).collect::<Vec<_>>())
    };
    let rows: Vec<_> = names.iter().map(row).collect();
    if rows.iter().all(|(_, cells)| cells.iter().all(String::is_empty)) {
        return String::new();
    }
    format!(
        "<h2>{}: differences, row minus column</h2>\n{}<p>Points of accuracy, over the \
         environments and trials that both have, with 95 % confidence intervals (Student's, over \
         trials); * does not hold 0.</p>\n",
        escaped(view.dataset),
        table_of("", &names, rows.into_iter())
    )
}

fn calibrations(worths: &[(String, Worths)], view: &View<'_>) -> String {
    if worths.is_empty() {
        return String::new();
    }
    let head = ["ECE (%)", "with T", "NLL", "with T", "Brier", "with T"].map(String::from);
    let rows = worths.iter().map(|(name, w)| {
        let cells = [
            format!("{:.1}", 100.0 * w.ece.0),
            format!("{:.1}", 100.0 * w.ece.1),
            format!("{:.3}", w.nll.0),
            format!("{:.3}", w.nll.1),
            format!("{:.3}", w.brier.0),
            format!("{:.3}", w.brier.1),
        ];
        (name.clone(), cells.to_vec())
    });
    format!(
        "<h2>{}: calibration on the environment left out</h2>\n{}<p>Means over environments and \
         trials: expected calibration error, negative log likelihood, Brier score; as predicted, \
         and with a temperature T from validation images of the training environments.</p>\n",
        escaped(view.dataset),
        table_of("Algorithm", &head, rows)
    )
}
