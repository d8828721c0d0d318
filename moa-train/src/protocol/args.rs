//! The `args` of a record: what identifies a run.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The command line of a run, under DomainBed's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Args {
    /// The row of the tables.
    pub algorithm: String,
    /// DomainBed's class name (`"PACS"`), or the name of another data set.
    pub dataset: String,
    /// Indices of the target environments: one, or two in the runs that
    /// leave-one-domain-out selection needs.
    pub test_envs: Vec<usize>,
    /// Seeds the splits; the tables average over it.
    pub trial_seed: u64,
    /// 0: the default hyper-parameters; else the seed of random ones.
    pub hparams_seed: u64,
    /// Seeds everything else.
    #[serde(default)]
    pub seed: u64,
    /// Share of each environment that is held out.
    #[serde(default = "usual_holdout")]
    pub holdout_fraction: f64,
    /// Always `"domain_generalization"` in our runs.
    #[serde(default = "usual_task")]
    pub task: String,
    /// Length of the run, if it was given.
    #[serde(default)]
    pub steps: Option<u64>,
    /// Steps between evaluations, if it was given.
    #[serde(default)]
    pub checkpoint_freq: Option<u64>,
    /// Share of a target used without labels: 0 in domain generalisation.
    #[serde(default)]
    pub uda_holdout_fraction: f64,
    /// Our addition, empty for the named data sets: names of the environments
    /// in index order, the columns of the tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_names: Vec<String>,
    /// All other keys.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn usual_holdout() -> f64 {
    0.2
}

fn usual_task() -> String {
    "domain_generalization".to_owned()
}
