//! Model selection across the hyper-parameter seeds of a sweep.

use std::collections::BTreeMap;

use serde::Serialize;

use super::record::Record;
use super::select::{Pick, Rule, rank};

/// What gets one reported number: DomainBed's groups.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Group {
    /// The trial, over which tables average.
    pub trial: u64,
    /// The data set.
    pub dataset: String,
    /// The method.
    pub algorithm: String,
    /// Index of the target environment.
    pub target: usize,
}

/// The choice within one group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Chosen {
    /// The hyper-parameter seed that was chosen.
    pub hparams_seed: u64,
    /// Its evaluation.
    #[serde(flatten)]
    pub pick: Pick,
}

/// The choice of `rule` in every group that has one.
///
/// A run with two targets belongs to the groups of both. A tie between
/// hyper-parameter seeds goes to the largest seed (DomainBed sorts upwards,
/// which keeps the order of equals, and takes the last).
pub fn choose(records: &[Record], rule: Rule) -> BTreeMap<Group, Chosen> {
    let mut groups: BTreeMap<Group, BTreeMap<u64, Vec<&Record>>> = BTreeMap::new();
    for record in records {
        for &target in &record.args.test_envs {
            let group = Group {
                trial: record.args.trial_seed,
                dataset: record.args.dataset.clone(),
                algorithm: record.args.algorithm.clone(),
                target,
            };
            let seeds = groups.entry(group).or_default();
            seeds.entry(record.args.hparams_seed).or_default().push(record);
        }
    }
    let best = |target, seeds: BTreeMap<u64, Vec<&Record>>| {
        let candidates = seeds.into_iter().filter_map(|(hparams_seed, records)| {
            Some(Chosen { hparams_seed, pick: rule.pick(&records, target)? })
        });
        candidates.reduce(
            |best, next| {
                if rank(next.pick.val) >= rank(best.pick.val) { next } else { best }
            },
        )
    };
    groups
        .into_iter()
        .filter_map(|(group, seeds)| best(group.target, seeds).map(|chosen| (group, chosen)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::tests::record;

    fn of_seed(hparams_seed: u64, out_acc: f64) -> Record {
        let mut record = record(&[0], 100, &[(0.5, 0.5), (0.5, out_acc)]);
        record.args.hparams_seed = hparams_seed;
        record
    }

    fn winner(records: &[Record]) -> Vec<u64> {
        choose(records, Rule::TrainingDomain).values().map(|c| c.hparams_seed).collect()
    }

    #[test]
    fn the_best_seed_then_the_largest() {
        assert_eq!(winner(&[of_seed(2, 0.25), of_seed(0, 0.75), of_seed(1, 0.5)]), [0]);
        assert_eq!(winner(&[of_seed(3, 0.75), of_seed(0, 0.75), of_seed(11, 0.25)]), [3]);
        assert_eq!(winner(&[of_seed(0, 0.0), of_seed(1, f64::NAN)]), [0]);
    }

    #[test]
    fn two_targets_are_in_two_groups_without_a_number() {
        let pair = record(&[0, 1], 100, &[(0.5, 0.5), (0.5, 0.5)]);
        assert!(winner(std::slice::from_ref(&pair)).is_empty());
        let single = record(&[1], 100, &[(0.5, 0.5), (0.25, 0.5)]);
        let chosen = choose(&[pair, single], Rule::LeaveOneDomainOut);
        let targets: Vec<_> = chosen.iter().map(|(g, c)| (g.target, c.pick.acc)).collect();
        assert_eq!(targets, [(1, 0.25)]);
    }
}
