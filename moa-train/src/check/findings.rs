//! What was found.

use super::{Duplicate, Kind};
use moa_infer::dataset::Dataset;
use serde::Serialize;
use std::path::PathBuf;

/// An image that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Why; it names the file.
    pub reason: String,
}

/// Counts and everything that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Name of the dataset.
    pub dataset: String,
    /// Its environments.
    pub envs: Vec<String>,
    /// Its classes.
    pub classes: Vec<String>,
    /// Readable images: `counts[class][environment]`.
    pub counts: Vec<Vec<usize>>,
    /// Smallest and largest width, then height.
    pub sizes: [(usize, usize); 2],
    /// What the layout has besides: leftover folders, other counts than the published ones.
    pub warnings: Vec<String>,
    /// Images that cannot be read.
    pub problems: Vec<Problem>,
    /// Pictures that are there twice.
    pub duplicates: Vec<Duplicate>,
}

impl Findings {
    pub(super) fn new(dataset: &Dataset) -> Self {
        let envs: Vec<String> = dataset.envs.iter().map(|env| env.name.clone()).collect();
        Self {
            dataset: dataset.name.clone(),
            counts: vec![vec![0; envs.len()]; dataset.classes.len()],
            envs,
            classes: dataset.classes.clone(),
            sizes: [(usize::MAX, 0); 2],
            warnings: dataset.warnings.clone(),
            problems: Vec::new(),
            duplicates: Vec::new(),
        }
    }

    pub(super) fn count(&mut self, env: usize, class: usize, (width, height): (usize, usize)) {
        self.counts[class][env] += 1;
        for ((low, high), side) in self.sizes.iter_mut().zip([width, height]) {
            (*low, *high) = ((*low).min(side), (*high).max(side));
        }
    }

    /// Duplicates of one kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Duplicate> {
        self.duplicates.iter().filter(move |duplicate| duplicate.kind == kind)
    }

    /// What must be mended: images that cannot be read, pictures with two labels. A run on the
    /// others measures what it says; pictures in two environments are told, for published
    /// datasets have them.
    pub fn faults(&self) -> usize {
        self.problems.len() + self.of(Kind::Classes).count()
    }

    /// A table of counts, sizes, and a line for everything else, at most `most` of each kind.
    pub fn text(&self, most: usize) -> String {
        let name = self.classes.iter().map(String::len).max().unwrap_or(0).max(8);
        let wide = self.envs.iter().map(String::len).max().unwrap_or(0).max(6);
        let mut out = String::new();
        let mut line = |first: &str, cells: &mut dyn Iterator<Item = String>| {
            let cells: String = cells.map(|cell| format!("  {cell:>wide$}")).collect();
            out.push_str(&format!("{first:name$}{cells}\n"));
        };
        line(&self.dataset, &mut self.envs.iter().cloned());
        // Of many classes the counts are in --json.
        if self.classes.len() <= 70 {
            for (class, counts) in self.classes.iter().zip(&self.counts) {
                line(class, &mut counts.iter().map(ToString::to_string));
            }
        }
        let sum = |env: usize| self.counts.iter().map(|counts| counts[env]).sum::<usize>();
        line("images", &mut (0..self.envs.len()).map(|env| sum(env).to_string()));
        let [(low_w, high_w), (low_h, high_h)] = self.sizes;
        if high_w > 0 {
            out.push_str(&format!("{low_w} to {high_w} pixels wide, {low_h} to {high_h} high\n"));
        }
        let mut told = |what: &str, lines: Vec<String>| {
            for line in lines.iter().take(most) {
                out.push_str(&format!("{what}: {line}\n"));
            }
            if lines.len() > most {
                out.push_str(&format!(
                    "{what}: and {} more (--json lists all)\n",
                    lines.len() - most
                ));
            }
        };
        told("layout", self.warnings.clone());
        told("unreadable", self.problems.iter().map(|p| p.reason.clone()).collect());
        let kinds = [
            (Kind::Classes, "same picture in two classes"),
            (Kind::Environments, "same picture in two environments"),
            (Kind::Same, "same picture twice"),
        ];
        for (kind, what) in kinds {
            let pair = |d: &Duplicate| format!("{} and {}", d.path.display(), d.again.display());
            told(what, self.of(kind).map(pair).collect());
        }
        out
    }
}
