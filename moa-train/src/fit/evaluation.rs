//! Accuracies of every environment at one step.

use super::data::{Data, Part};
use super::signals::StopFlag;
use crate::config::Config;
use crate::protocol::record::EnvAccuracy;
use anyhow::Result;
use moa_infer::evaluate::evaluate;
use moa_infer::predictor::Predictor;

/// Accuracies in the order of the environments.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// One per environment.
    pub envs: Vec<EnvAccuracy>,
    /// Training-domain validation: the mean over the training environments of
    /// their out-part's accuracy.
    pub train_out: f64,
}

/// Evaluates the out-part of every environment and the in-part of held-out ones
/// (the reference code's fast mode). `None` if a signal asked to stop.
///
/// # Errors
/// If an image cannot be read.
pub fn run(
    predictor: &Predictor,
    data: &Data,
    config: &Config,
    stop: &StopFlag,
) -> Result<Option<Evaluation>> {
    let accuracy = |env: usize, part: Part| -> Result<Option<f64>> {
        let samples = data.samples(env, part, config.eval.max_images);
        if samples.is_empty() {
            return Ok(Some(f64::NAN)); // nothing was left out of this environment
        }
        let (classes, batch) = (data.dataset.classes.len(), config.eval.batch);
        let threads = config.data.workers;
        let metrics = evaluate(predictor, &samples, classes, (batch, threads), || stop.is_set())?;
        Ok(metrics.map(|m| m.accuracy))
    };
    let mut envs = Vec::new();
    for env in 0..data.dataset.envs.len() {
        let Some(out_acc) = accuracy(env, Part::Out)? else { return Ok(None) };
        let in_acc = match data.test_envs.contains(&env) {
            true => match accuracy(env, Part::In)? {
                None => return Ok(None),
                found => found,
            },
            false => None,
        };
        envs.push(EnvAccuracy { in_acc, out_acc });
    }
    let outs: Vec<f64> =
        data.train_envs().map(|env| envs[env].out_acc).filter(|a| !a.is_nan()).collect();
    let train_out = outs.iter().sum::<f64>() / outs.len() as f64;
    Ok(Some(Evaluation { envs, train_out }))
}
