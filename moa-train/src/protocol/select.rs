//! Model selection within the records of one hyper-parameter seed
//! (DomainBed's `model_selection.py`).

use std::collections::BTreeMap;

use serde::Serialize;

use super::numeric;
use super::record::Record;

/// How the reported checkpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Largest mean held-out accuracy of the training environments.
    TrainingDomain,
    /// Largest mean accuracy on training environments that were left out too,
    /// each in a run of its own with two targets.
    LeaveOneDomainOut,
    /// The last evaluation; hyper-parameters by the target's held-out part.
    Oracle,
}

/// One evaluation, chosen or a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pick {
    /// What it was chosen by.
    pub val: f64,
    /// What is reported: the accuracy on the in-part of the target.
    pub acc: f64,
    /// When it was made.
    pub step: u64,
}

impl Rule {
    /// All rules, in the order of the report.
    pub const ALL: [Self; 3] = [Self::TrainingDomain, Self::LeaveOneDomainOut, Self::Oracle];

    /// DomainBed's name of the rule.
    pub fn name(self) -> &'static str {
        match self {
            Self::TrainingDomain => "training-domain validation set",
            Self::LeaveOneDomainOut => "leave-one-domain-out cross-validation",
            Self::Oracle => "test-domain validation set (oracle)",
        }
    }

    /// The choice among the records of one trial, data set, algorithm,
    /// hyper-parameter seed and target, in file order. `None` if the rule has
    /// no candidate, such as leave-one-domain-out without runs of two targets.
    pub fn pick(self, records: &[&Record], target: usize) -> Option<Pick> {
        match self {
            Self::TrainingDomain => {
                first_best(alone(records).filter_map(|r| training_domain(r, target)))
            }
            Self::LeaveOneDomainOut => {
                let mut by_step: BTreeMap<u64, Vec<&Record>> = BTreeMap::new();
                for record in records {
                    by_step.entry(record.step).or_default().push(record);
                }
                first_best(by_step.values().filter_map(|at| leave_one_out(at, target)))
            }
            Self::Oracle => {
                // the last of equals, as `max_by_key` has it
                let last = alone(records).max_by_key(|r| r.step)?;
                let (val, acc) = (last.out_acc(target)?, last.in_acc(target)?);
                Some(Pick { val, acc, step: last.step })
            }
        }
    }
}

/// Records of runs with one target.
fn alone<'a>(records: &'a [&'a Record]) -> impl Iterator<Item = &'a Record> {
    records.iter().copied().filter(|r| r.args.test_envs.len() == 1)
}

fn training_domain(record: &Record, target: usize) -> Option<Pick> {
    let others = record.envs.iter().enumerate().filter(|(env, _)| *env != target);
    let val = numeric::mean(&others.map(|(_, env)| env.out_acc).collect::<Vec<_>>());
    Some(Pick { val, acc: record.in_acc(target)?, step: record.step })
}

/// The candidate of one step: needs one run with the target alone, and one
/// with the target and each other environment.
fn leave_one_out(at_step: &[&Record], target: usize) -> Option<Pick> {
    let mut single = alone(at_step);
    let (Some(record), None) = (single.next(), single.next()) else {
        return None;
    };
    let n_envs = at_step.first()?.envs.len();
    let mut left_out = vec![None; n_envs];
    for pair in at_step.iter().filter(|r| r.args.test_envs.len() == 2) {
        let other = *pair.args.test_envs.iter().find(|&&env| env != target)?;
        *left_out.get_mut(other)? = pair.in_acc(other);
    }
    let needed = left_out.iter().enumerate().filter(|(env, _)| *env != target);
    let accuracies: Vec<f64> = needed.map(|(_, acc)| *acc).collect::<Option<_>>()?;
    let val = numeric::mean(&accuracies);
    Some(Pick { val, acc: record.in_acc(target)?, step: record.step })
}

/// The first candidate with the largest value.
fn first_best(candidates: impl Iterator<Item = Pick>) -> Option<Pick> {
    candidates.reduce(|best, pick| if rank(pick.val) > rank(best.val) { pick } else { best })
}

/// A value that is no number loses against all that are.
pub(super) fn rank(val: f64) -> f64 {
    if val.is_nan() { f64::NEG_INFINITY } else { val }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::record::tests::record;

    fn pick(rule: Rule, records: &[Record]) -> Option<(f64, u64)> {
        let found = rule.pick(&records.iter().collect::<Vec<_>>(), 0)?;
        Some((found.acc, found.step))
    }

    #[test]
    fn first_maximum_of_the_training_domains() {
        // the held-out part of the target itself does not count
        let run = [
            record(&[0], 0, &[(0.1, 1.0), (0.9, 0.5)]),
            record(&[0], 100, &[(0.2, 0.0), (0.1, 0.75)]),
            record(&[0], 200, &[(0.3, 0.0), (0.1, 0.75)]),
            record(&[0, 1], 300, &[(0.4, 0.0), (0.1, 1.0)]),
        ];
        assert_eq!(pick(Rule::TrainingDomain, &run), Some((0.2, 100)));
        assert_eq!(pick(Rule::TrainingDomain, &run[3..]), None);
    }

    #[test]
    fn not_a_number_never_wins() {
        let run = [
            record(&[0], 0, &[(0.1, 0.5), (0.9, f64::NAN)]),
            record(&[0], 100, &[(0.2, 0.5), (0.1, 0.0)]),
        ];
        assert_eq!(pick(Rule::TrainingDomain, &run), Some((0.2, 100)));
        assert_eq!(pick(Rule::TrainingDomain, &run[..1]), Some((0.1, 0)));
    }

    #[test]
    fn oracle_takes_the_last_line_of_the_largest_step() {
        let run = [
            record(&[0], 200, &[(0.1, 0.5), (0.9, 0.5)]),
            record(&[0], 200, &[(0.2, 0.25), (0.9, 0.5)]),
            record(&[0], 100, &[(0.3, 1.0), (0.9, 0.5)]),
        ];
        let found = Rule::Oracle.pick(&run.iter().collect::<Vec<_>>(), 0).unwrap();
        assert_eq!(found, Pick { val: 0.25, acc: 0.2, step: 200 });
        assert_eq!(pick(Rule::Oracle, &[]), None);
    }

    #[test]
    fn leave_one_out_needs_every_pair_at_the_step() {
        let envs = [(0.1, 0.5), (0.5, 0.5), (0.25, 0.5)];
        let run = [
            record(&[1, 0], 100, &envs),
            record(&[0], 100, &envs),
            record(&[0, 2], 100, &envs),
            record(&[0], 200, &envs),
            record(&[0, 2], 200, &envs),
        ];
        let found = Rule::LeaveOneDomainOut.pick(&run.iter().collect::<Vec<_>>(), 0).unwrap();
        assert_eq!(found, Pick { val: 0.375, acc: 0.1, step: 100 });
        assert_eq!(pick(Rule::LeaveOneDomainOut, &run[3..]), None);
        // two runs with the target alone: which one is meant is unknown
        let doubled: Vec<_> = run.iter().chain(&run[1..2]).cloned().collect();
        assert_eq!(pick(Rule::LeaveOneDomainOut, &doubled), None);
    }
}
