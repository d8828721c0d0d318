//! Calibration of each method on the environments left out.

use super::figures::View;
use crate::protocol::record::Record;

/// Means over environments and trials, plain and with the temperature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Worths {
    /// Expected calibration error.
    pub ece: (f64, f64),
    /// Negative log likelihood.
    pub nll: (f64, f64),
    /// Brier score.
    pub brier: (f64, f64),
    /// Environments and trials behind them.
    pub cells: usize,
}

/// Of every method that has them, by name.
pub fn of(view: &View<'_>) -> Vec<(String, Worths)> {
    let mut all = Vec::new();
    for method in &view.methods {
        let mut sum = Worths::default();
        for (group, chosen, run) in &method.runs {
            let record = run.at(chosen.pick.step);
            let Some(found) = record.and_then(|record| one(record, group.target)) else { continue };
            let pairs = [
                (&mut sum.ece, found.ece),
                (&mut sum.nll, found.nll),
                (&mut sum.brier, found.brier),
            ];
            pairs.into_iter().for_each(|(to, more)| *to = (to.0 + more.0, to.1 + more.1));
            sum.cells += 1;
        }
        if sum.cells > 0 {
            let n = sum.cells as f64;
            let mean = |(a, b): (f64, f64)| (a / n, b / n);
            let (ece, nll, brier) = (mean(sum.ece), mean(sum.nll), mean(sum.brier));
            all.push((method.name.to_owned(), Worths { ece, nll, brier, cells: sum.cells }));
        }
    }
    all
}

/// From the keys of a record.
fn one(record: &Record, env: usize) -> Option<Worths> {
    let number =
        |what: &str, end: &str| record.extra.get(&format!("env{env}_in_{what}{end}"))?.as_f64();
    let both = |what: &str| Some((number(what, "")?, number(what, "_calibrated")?));
    Some(Worths { ece: both("ece")?, nll: both("nll")?, brier: both("brier")?, cells: 1 })
}
