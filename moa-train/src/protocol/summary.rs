//! Selection within one run by its averaged accuracies, as the training
//! programs of the SWAD family (MoA's among them) report it at the end.

use serde::{Deserialize, Serialize};

use super::numeric;
use super::record::Record;
use super::select::rank;

/// An evaluation, averaged over environments.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// When it was made.
    pub step: u64,
    /// Mean held-out accuracy of the training environments.
    pub train_out: f64,
    /// Mean in-part accuracy of the targets.
    pub test_in: f64,
    /// Mean held-out accuracy of the targets.
    pub test_out: f64,
}

/// What one run would report under each rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RunSelection {
    /// `test_in` at the first maximum of `train_out`.
    pub iid: f64,
    /// The step of that evaluation.
    pub iid_step: u64,
    /// `test_in` at the first maximum of `test_out`.
    pub oracle: f64,
    /// `test_in` of the last evaluation.
    pub last: f64,
    /// The last maximum of `train_out`: MoA's program saves a checkpoint when
    /// it is at least as good as the best, so with a tie its saved checkpoint
    /// is not the one whose number it reports.
    pub checkpoint_step: u64,
}

impl Summary {
    /// Averages of a record; NaN where nothing was measured.
    pub fn of(record: &Record) -> Self {
        let targets = &record.args.test_envs;
        let sources = record.envs.iter().enumerate().filter(|(env, _)| !targets.contains(env));
        let of_targets = |accuracy: fn(&Record, usize) -> Option<f64>| {
            let measured = targets.iter().filter_map(|&env| accuracy(record, env));
            numeric::mean(&measured.collect::<Vec<_>>())
        };
        Self {
            step: record.step,
            train_out: numeric::mean(&sources.map(|(_, env)| env.out_acc).collect::<Vec<_>>()),
            test_in: of_targets(Record::in_acc),
            test_out: of_targets(Record::out_acc),
        }
    }
}

impl RunSelection {
    /// Selects among the evaluations of one run, in order; `None` if there are
    /// none.
    pub fn of(evaluations: &[Summary]) -> Option<Self> {
        let by_source = |s: &Summary| s.train_out;
        let first = first_maximum(evaluations, by_source)?;
        Some(Self {
            iid: first.test_in,
            iid_step: first.step,
            oracle: first_maximum(evaluations, |s| s.test_out)?.test_in,
            last: evaluations.last()?.test_in,
            checkpoint_step: last_maximum(evaluations, by_source)?.step,
        })
    }
}

/// The first item with the largest value; one that is no number never wins.
pub fn first_maximum<T>(items: &[T], value: impl Fn(&T) -> f64) -> Option<&T> {
    items
        .iter()
        .reduce(|best, item| if rank(value(item)) > rank(value(best)) { item } else { best })
}

/// The last item with the largest value; one that is no number never wins.
pub fn last_maximum<T>(items: &[T], value: impl Fn(&T) -> f64) -> Option<&T> {
    items
        .iter()
        .reduce(|best, item| if rank(value(item)) >= rank(value(best)) { item } else { best })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::record::tests::record;

    #[test]
    fn averages() {
        let envs = [(0.1, 0.25), (0.2, 0.5), (0.3, 0.75), (0.5, 1.0)];
        let one = Summary::of(&record(&[0], 7, &envs));
        assert_eq!(one, Summary { step: 7, train_out: 0.75, test_in: 0.1, test_out: 0.25 });
        let two = Summary::of(&record(&[1, 3], 7, &envs));
        assert_eq!(two, Summary { step: 7, train_out: 0.5, test_in: 0.35, test_out: 0.75 });
        assert!(Summary::of(&record(&[0], 7, &envs[..1])).train_out.is_nan());
    }

    #[test]
    fn ties() {
        let at =
            |step, train_out, test_out| Summary { step, train_out, test_in: step as f64, test_out };
        let run = [at(0, 0.5, 0.2), at(1, 0.8, 0.9), at(2, 0.8, 0.9), at(3, f64::NAN, 0.1)];
        let selected = RunSelection::of(&run).unwrap();
        let wanted =
            RunSelection { iid: 1.0, iid_step: 1, oracle: 1.0, last: 3.0, checkpoint_step: 2 };
        assert_eq!(selected, wanted);
        assert_eq!(RunSelection::of(&[]), None);
    }
}
