//! `evaluation.json`: what the predictions of the best adapter are worth, for the report.

use super::data::Part;
use super::evaluation::Evaluation;
use super::plan::Plan;
use moa_infer::metrics::Metrics;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Name of the file in a run folder.
pub const EVALUATION_FILE: &str = "evaluation.json";

/// The evaluation whose adapter is in `best/`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worth {
    /// Step, counted from 0.
    pub step: u64,
    /// The temperature of the calibrated values.
    pub temperature: f64,
    /// Class names.
    pub classes: Vec<String>,
    /// Every part that was evaluated.
    pub parts: Vec<PartWorth>,
}

/// One part of one environment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartWorth {
    /// Its name.
    pub env: String,
    /// Whether it was held out of training.
    pub held_out: bool,
    /// `in` or `out`, DomainBed's parts.
    pub part: String,
    /// As predicted.
    pub plain: Metrics,
    /// With logits divided by the temperature.
    pub calibrated: Metrics,
}

impl Worth {
    pub(super) fn new(plan: &Plan, step: u64, evaluation: &Evaluation) -> Self {
        let data = &plan.data;
        let part =
            |(&(env, part), measured): (&(usize, Part), &super::evaluation::Measured)| PartWorth {
                env: data.dataset.envs[env].name.clone(),
                held_out: data.test_envs.contains(&env),
                part: name(part).into(),
                plain: measured.plain.clone(),
                calibrated: measured.calibrated.clone(),
            };
        let classes = data.dataset.classes.clone();
        let parts = evaluation.parts.iter().map(part).collect();
        Self { step, temperature: evaluation.temperature, classes, parts }
    }
}

fn name(part: Part) -> &'static str {
    match part {
        Part::In => "in",
        Part::Out => "out",
    }
}

/// Further keys of a record: `env0_out_nll`, `env0_out_nll_calibrated`, ..., `temperature`.
pub(super) fn keys(evaluation: &Evaluation) -> Map<String, Value> {
    let mut keys = Map::new();
    keys.insert("temperature".into(), evaluation.temperature.into());
    for (&(env, part), measured) in &evaluation.parts {
        for (m, end) in [(&measured.plain, ""), (&measured.calibrated, "_calibrated")] {
            for (what, value) in [("nll", m.nll), ("ece", m.ece), ("brier", m.brier)] {
                keys.insert(format!("env{env}_{}_{what}{end}", name(part)), value.into());
            }
        }
    }
    keys
}
