//! The report of a sweep: DomainBed's `collect_results.py`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::axes::{Dataset, algorithms, datasets};
use super::choose::{Chosen, Group, choose};
use super::numeric;
use super::record::Record;
use super::select::Rule;
use super::table::{Cell, Row, Table};

/// Tables of all records under every selection rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Records read.
    pub total: usize,
    /// The methods, in the order of the rows.
    pub algorithms: Vec<String>,
    /// The data sets, in the order of the tables.
    pub datasets: Vec<String>,
    /// One for each of [`Rule::ALL`].
    pub rules: Vec<RuleReport>,
}

/// Tables under one selection rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleReport {
    /// The rule.
    pub rule: Rule,
    /// What was chosen.
    #[serde(serialize_with = "as_list")]
    pub chosen: BTreeMap<Group, Chosen>,
    /// One for each data set: environments across.
    pub datasets: Vec<Table>,
    /// Data sets across.
    pub averages: Table,
}

impl Report {
    /// Selects and averages.
    ///
    /// Trials are added in the order of their seeds. DomainBed adds them in the
    /// order in which the system happens to list the run folders, on which the
    /// last digit of a mean, and so the rounding of an exact half, can depend.
    pub fn new(records: &[Record]) -> Self {
        let algorithms = algorithms(records);
        let datasets = datasets(records);
        let rules = Rule::ALL.iter().map(|&rule| {
            let chosen = choose(records, rule);
            let table = |set| environments(rule, &algorithms, set, &chosen);
            RuleReport {
                rule,
                datasets: datasets.iter().map(table).collect(),
                averages: averages(rule, &algorithms, &datasets, &chosen),
                chosen,
            }
        });
        Self {
            total: records.len(),
            rules: rules.collect(),
            datasets: datasets.iter().map(|set| set.name.clone()).collect(),
            algorithms,
        }
    }

    /// The text that `collect_results.py` prints and keeps in `results.txt`.
    pub fn to_text(&self) -> String {
        self.text(20, 25)
    }

    /// The same with the names of all methods in full.
    pub fn to_wide_text(&self) -> String {
        let longest = self.algorithms.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        self.text(longest.max(20), longest.max(25))
    }

    fn text(&self, names: usize, names_of_averages: usize) -> String {
        let mut out = format!("Total records: {}\n", self.total);
        for rule in &self.rules {
            rule.datasets.iter().for_each(|table| out.push_str(&table.to_text(names, 20)));
            out.push_str(&rule.averages.to_text(names_of_averages, 25));
        }
        out
    }

    /// The tables in Markdown, a heading before each.
    pub fn to_markdown(&self) -> String {
        let mut out = format!("Total records: {}\n", self.total);
        for rule in &self.rules {
            for table in rule.datasets.iter().chain([&rule.averages]) {
                out.push_str(&format!("\n### {}\n\n{}", table.title, table.to_markdown()));
            }
        }
        out
    }
}

/// Environments across.
fn environments(
    rule: Rule,
    algorithms: &[String],
    set: &Dataset,
    chosen: &BTreeMap<Group, Chosen>,
) -> Table {
    let cell = |algorithm: &String, target| {
        let of_cell = |(group, _): &(&Group, &Chosen)| {
            (&group.dataset, &group.algorithm, group.target) == (&set.name, algorithm, target)
        };
        let trials = chosen.iter().filter(of_cell).map(|(_, chosen)| chosen.pick.acc);
        Cell::of(&trials.collect::<Vec<_>>())
    };
    let row = |algorithm: &String| {
        let cells = (0..set.columns.len()).map(|target| cell(algorithm, target));
        Row::new(algorithm.clone(), cells.collect())
    };
    Table {
        title: format!("Dataset: {}, model selection method: {}", set.name, rule.name()),
        columns: set.columns.clone(),
        rows: algorithms.iter().map(row).collect(),
    }
}

/// Data sets across: per trial the mean over the targets that exist.
fn averages(
    rule: Rule,
    algorithms: &[String],
    datasets: &[Dataset],
    chosen: &BTreeMap<Group, Chosen>,
) -> Table {
    let cell = |algorithm: &String, set: &Dataset| {
        let mut trials: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (group, chosen) in chosen {
            if (&group.dataset, &group.algorithm) == (&set.name, algorithm) {
                trials.entry(group.trial).or_default().push(chosen.pick.acc);
            }
        }
        Cell::of(&trials.values().map(|targets| numeric::mean(targets)).collect::<Vec<_>>())
    };
    let row = |algorithm: &String| {
        Row::new(algorithm.clone(), datasets.iter().map(|set| cell(algorithm, set)).collect())
    };
    Table {
        title: format!("Averages, model selection method: {}", rule.name()),
        columns: datasets.iter().map(|set| set.name.clone()).collect(),
        rows: algorithms.iter().map(row).collect(),
    }
}

fn as_list<S: serde::Serializer>(
    chosen: &BTreeMap<Group, Chosen>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        group: &'a Group,
        #[serde(flatten)]
        chosen: &'a Chosen,
    }
    serializer.collect_seq(chosen.iter().map(|(group, chosen)| Line { group, chosen }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::tests::record;

    #[test]
    fn renderings() {
        let report = Report::new(&[record(&[1], 100, &[(0.5, 0.5), (0.25, 0.5)])]);
        assert!(report.to_text().starts_with("Total records: 1\n\n-------- Dataset: PACS, model "));
        assert!(report.to_markdown().contains("\n| ERM | X | 25.0 +/- 0.0 | X | X | X |\n"));
        let json = serde_json::to_value(&report).unwrap_or_default();
        assert_eq!(json["rules"][0]["rule"], "training_domain");
        assert_eq!(json["rules"][0]["chosen"][0]["target"], 1);
        assert_eq!(json["rules"][0]["chosen"][0]["acc"], 0.25);
    }

    #[test]
    fn no_records() {
        let wanted =
            "\n-------- Averages, model selection method: training-domain validation set\n";
        let text = Report::new(&[]).to_text();
        assert!(text.starts_with(&format!("Total records: 0\n{wanted}Algorithm")), "{text}");
    }
}
