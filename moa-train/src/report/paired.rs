//! Two methods compared on the same splits, batches and environments.

use crate::protocol::report::RuleReport;
use serde::Serialize;
use std::collections::BTreeMap;

/// How much better one method is than another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The one.
    pub method: String,
    /// The other.
    pub other: String,
    /// Mean difference in points of accuracy, over trials and environments that both have.
    pub difference: f64,
    /// Half the width of its 95 % confidence interval; none from a single trial.
    pub margin: Option<f64>,
    /// Trials that both have.
    pub trials: usize,
    /// Trials and environments that both have.
    pub cells: usize,
}

impl Comparison {
    /// True if the interval does not hold 0.
    pub fn is_clear(&self) -> bool {
        self.margin.is_some_and(|margin| self.difference.abs() > margin)
    }

    /// `"+1.2 +/- 0.8"`.
    pub fn text(&self) -> String {
        match self.margin {
            Some(margin) => format!("{:+.1} +/- {margin:.1}", self.difference),
            None => format!("{:+.1}", self.difference),
        }
    }
}

/// Compares two methods on a data set; nothing if they share no trial and environment.
///
/// In each trial the differences of all shared environments are averaged: environments are the
/// same in every trial and are no sample of anything. The interval is Student's over trials.
pub fn compare(
    report: &RuleReport,
    dataset: &str,
    method: &str,
    other: &str,
) -> Option<Comparison> {
    let of = |name: &str| -> BTreeMap<(u64, usize), f64> {
        let mine =
            report.chosen.iter().filter(|(g, _)| g.dataset == dataset && g.algorithm == name);
        mine.map(|(g, chosen)| ((g.trial, g.target), chosen.pick.acc)).collect()
    };
    let (ours, theirs) = (of(method), of(other));
    let mut trials: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (cell, accuracy) in &ours {
        if let Some(against) = theirs.get(cell) {
            trials.entry(cell.0).or_default().push(100.0 * (accuracy - against));
        }
    }
    let cells = trials.values().map(Vec::len).sum();
    let means: Vec<f64> = trials.values().map(|d| d.iter().sum::<f64>() / d.len() as f64).collect();
    let n = means.len();
    if n == 0 {
        return None;
    }
    let mean = means.iter().sum::<f64>() / n as f64;
    let squares: f64 = means.iter().map(|d| (d - mean).powi(2)).sum();
    let margin = (n > 1).then(|| {
        let error = (squares / (n - 1) as f64 / n as f64).sqrt();
        quantile(n - 1) * error
    });
    let (method, other) = (method.to_owned(), other.to_owned());
    Some(Comparison { method, other, difference: mean, margin, trials: n, cells })
}

/// The 97.5 % quantile of Student's distribution.
fn quantile(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    // Beyond the table: the normal one with its first two corrections.
    let (z, n) = (1.959_964_f64, freedom as f64);
    let [first, second] = [z.powi(3) + z, 5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z];
    let beyond = z + first / (4.0 * n) + second / (96.0 * n * n);
    freedom.checked_sub(1).and_then(|i| TABLE.get(i)).copied().unwrap_or(beyond)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::record::tests::record;
    use crate::protocol::report::Report;

    #[test]
    fn by_hand() {
        let run = |algorithm: &str, trial, target: usize, accuracy| {
            let mut envs = [(0.5, 0.5); 3];
            envs[target].0 = accuracy;
            let mut record = record(&[target], 100, &envs);
            (record.args.algorithm, record.args.trial_seed) = (algorithm.into(), trial);
            record
        };
        let mut records = Vec::new();
        for (trial, gains) in [(0, [0.02, 0.04]), (1, [0.00, 0.02]), (2, [0.03, 0.01])] {
            for (target, gain) in gains.into_iter().enumerate() {
                records.push(run("a", trial, target, 0.5 + gain));
                records.push(run("b", trial, target, 0.5));
            }
        }
        records.push(run("a", 3, 0, 0.9)); // b has no such trial
        let report = Report::new(&records);
        let found = compare(&report.rules[0], "PACS", "a", "b").unwrap();
        // Means of trials: 3, 1, 2; their mean 2, error 1 / sqrt(3).
        assert!((found.difference - 2.0).abs() < 1e-9);
        assert!((found.margin.unwrap() - 4.303 / 3f64.sqrt()).abs() < 1e-3);
        assert_eq!((found.trials, found.cells, found.is_clear()), (3, 6, false));
        assert_eq!(found.text(), "+2.0 +/- 2.5");
        let back = compare(&report.rules[0], "PACS", "b", "a").unwrap();
        assert_eq!(back.difference, -found.difference);
        assert!(compare(&report.rules[0], "PACS", "a", "none").is_none());
        assert!((quantile(31) - 2.0395).abs() < 1e-3 && quantile(1) == 12.706);
    }
}
