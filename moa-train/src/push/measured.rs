//! What a run measured for its adapter.

use crate::protocol::record::Record;
use anyhow::{Context, Result};
use moa_core::model::Training;
use std::path::Path;

/// Accuracies of one step, from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// By environment, in its order.
    pub rows: Vec<Row>,
    /// The dataset, as DomainBed spells it.
    pub dataset: String,
}

/// One environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub env: String,
    /// No image of it was trained on.
    pub unseen: bool,
    /// On all images of its in-part if `unseen`, else on its held-out part.
    pub accuracy: f64,
}

impl Measured {
    /// The evaluation of the step that the adapter was taken after; `None` if there is none.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn read(path: &Path, training: &Training) -> Result<Option<Self>> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(shown)?;
        for line in text.lines() {
            let record = Record::from_line(line).map_err(anyhow::Error::msg).with_context(shown)?;
            if record.step == training.step && record.args.trial_seed == training.trial_seed {
                return Ok(Self::of(&record, training));
            }
        }
        Ok(None)
    }

    fn of(record: &Record, training: &Training) -> Option<Self> {
        let (mut seen, mut unseen) = (training.train_envs.iter(), training.test_envs.iter());
        let mut rows = Vec::new();
        for (i, accuracy) in record.envs.iter().enumerate() {
            let held_out = record.args.test_envs.contains(&i);
            let (env, accuracy) = match held_out {
                true => (unseen.next()?, accuracy.in_acc?),
                false => (seen.next()?, accuracy.out_acc),
            };
            rows.push(Row { env: env.clone(), unseen: held_out, accuracy });
        }
        Some(Self { rows, dataset: record.args.dataset.clone() })
    }
}
