//! Pictures of a study, each an SVG with a title and a caption.

mod accuracy;
mod confusion;
mod curvature;
mod curves;
mod embedding;
mod maps;
mod reliability;
mod usage;

use super::runs::Run;
use crate::protocol::choose::{Chosen, Group};
use crate::protocol::report::Report;

/// A picture.
pub struct Figure {
    /// What it is called in the page.
    pub id: String,
    /// Its heading.
    pub title: String,
    /// What is to be seen.
    pub caption: String,
    /// The drawing.
    pub svg: String,
}

/// The runs of one data set that training-domain validation has chosen.
pub struct View<'a> {
    /// Name of the data set.
    pub dataset: &'a str,
    /// Names of its environments.
    pub columns: &'a [String],
    /// Methods that have any run.
    pub methods: Vec<Method<'a>>,
}

/// Chosen runs of one method.
pub struct Method<'a> {
    /// Its name.
    pub name: &'a str,
    /// In the order of trials, then of what was left out.
    pub runs: Vec<(&'a Group, &'a Chosen, &'a Run)>,
}

impl<'a> View<'a> {
    /// One for each data set.
    pub fn all(report: &'a Report, runs: &'a [Run]) -> Vec<Self> {
        let Some(rule) = report.rules.first() else { return Vec::new() };
        let view = |(dataset, table): (&'a String, &'a crate::protocol::table::Table)| {
            let method = |name: &'a String| {
                let mine = rule
                    .chosen
                    .iter()
                    .filter(|(group, _)| group.dataset == *dataset && group.algorithm == *name);
                let run = |(group, chosen): (&'a Group, &'a Chosen)| {
                    Some((group, chosen, runs.iter().find(|run| run.is(group, chosen))?))
                };
                Method { name, runs: mine.filter_map(run).collect() }
            };
            let methods = report.algorithms.iter().map(method);
            let methods = methods.filter(|method| !method.runs.is_empty()).collect();
            Self { dataset, columns: &table.columns, methods }
        };
        report.datasets.iter().zip(&rule.datasets).map(view).collect()
    }
}

/// All pictures that a data set's runs have the numbers for.
pub fn all(view: &View<'_>) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    figures.extend(accuracy::figure(view));
    figures.extend(curves::figure(view));
    figures.extend(reliability::figure(view));
    figures.extend(confusion::figures(view));
    figures.extend(curvature::figures(view));
    for method in &view.methods {
        for (group, _, run) in &method.runs {
            let Some(analysis) = &run.analysis else { continue };
            let without = view.columns.get(group.target).map_or("?", String::as_str);
            let (without, trial) = (format!("without {without}"), format!("trial {}", group.trial));
            let of = [view.dataset, method.name, &without, &trial];
            figures.extend(usage::figures(analysis, &of));
            figures.extend(maps::figures(analysis, &of));
            figures.extend(embedding::figure(analysis, &of));
        }
    }
    figures
}

/// A name that an address can end in.
fn id(parts: &[&str]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    parts.join("-").chars().map(plain).collect()
}
