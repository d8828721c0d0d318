//! What a reader of the tables must know: which runs are not alike, not finished,
//! or in no table.

use crate::protocol::record::Record;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// One sentence for each.
pub fn remarks(records: &[Record]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rows: BTreeMap<_, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    let mut runs: BTreeMap<_, (u64, Option<u64>)> = BTreeMap::new();
    let mut repeated: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    for record in records {
        let args = &record.args;
        // Runs of one seed of hyper-parameters are meant to be repetitions of each other.
        let row = rows.entry((&args.dataset, &args.algorithm, args.hparams_seed)).or_default();
        let mut settings = record.hparams.clone();
        settings.insert("steps".into(), json!(args.steps));
        settings.insert("holdout_fraction".into(), json!(args.holdout_fraction));
        for (key, value) in settings {
            // Random hyper-parameters are other ones in each trial.
            let drawn = ["lr", "batch_size", "weight_decay", "resnet_dropout"];
            if args.hparams_seed > 0 && drawn.contains(&key.as_str()) {
                continue;
            }
            row.entry(key).or_default().insert(value.to_string());
        }
        let trial = (&args.dataset, &args.algorithm, &args.test_envs, args.trial_seed);
        repeated.entry(trial).or_default().insert(args.seed);
        let seeds = (args.trial_seed, args.hparams_seed, args.seed);
        let run = runs.entry((&args.dataset, &args.algorithm, &args.test_envs, seeds));
        let (last, steps) = run.or_insert((record.step, args.steps));
        (*last, *steps) = ((*last).max(record.step), (*steps).max(args.steps));
    }
    for ((dataset, algorithm, _), settings) in rows {
        let differing: Vec<String> = settings
            .iter()
            .filter(|(_, values)| values.len() > 1)
            .map(|(key, values)| {
                format!("{key} {}", values.iter().cloned().collect::<Vec<_>>().join(" and "))
            })
            .collect();
        if !differing.is_empty() {
            let what = differing.join(", ");
            lines.push(format!("{algorithm} on {dataset}: one row, but runs with {what}"));
        }
    }
    for ((dataset, algorithm, targets, (trial, _, seed)), (last, steps)) in runs {
        let targets = targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        if let Some(steps) = steps.filter(|steps| last + 1 < *steps) {
            lines.push(format!(
                "{algorithm} on {dataset} without environment {targets} (split seed {trial}, seed \
                 {seed}): evaluated up to step {} of {steps}, not finished",
                last + 1
            ));
        }
    }
    for ((dataset, algorithm, targets, trial), seeds) in repeated {
        if seeds.len() > 1 {
            lines.push(format!(
                "{algorithm} on {dataset} without environment {targets:?}, split seed {trial}: of \
                 {} runs with different seeds only the best one counts, as in DomainBed",
                seeds.len()
            ));
        }
    }
    let several = records.iter().filter(|r| r.args.test_envs.len() > 1).count();
    if several > 0 {
        lines.push(format!(
            "{several} records are of runs that hold out several environments: they are in no \
             column of these tables"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::tests::record;

    #[test]
    fn unlike_unfinished_and_double_runs_are_told() {
        let accuracies = [(0.5, 0.5), (0.25, 0.5)];
        let mut a = record(&[1], 100, &accuracies);
        a.args.steps = Some(101);
        assert_eq!(remarks(&[a.clone()]), Vec::<String>::new());
        let mut b = a.clone();
        b.args.trial_seed += 1;
        b.hparams.insert("lr".into(), json!(0.5));
        a.hparams.insert("lr".into(), json!(0.25));
        b.step = 40;
        let lines = remarks(&[a.clone(), b]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("one row, but runs with lr 0.25 and 0.5"), "{lines:?}");
        assert!(lines[1].ends_with("evaluated up to step 41 of 101, not finished"), "{lines:?}");
        let mut c = a.clone();
        c.args.seed = 7;
        assert!(remarks(&[a.clone(), c])[0].contains("of 2 runs with different seeds"));
        a.args.test_envs = vec![0, 1];
        assert!(remarks(&[a])[0].starts_with("1 records are of runs"));
    }
}
