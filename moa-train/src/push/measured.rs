//! What a run measured for its adapter.

use crate::protocol::record::Record;
use crate::protocol::results::{ResultsError, read_results};
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
    pub fn read(path: &Path, training: &Training) -> Result<Option<Self>, ResultsError> {
        let records = read_results(path)?;
        let record = records.iter().find(|record| record.step == training.step);
        Ok(record.and_then(|record| Self::of(record, training)))
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
