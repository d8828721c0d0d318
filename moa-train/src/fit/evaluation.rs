//! Accuracies of every environment at one step.

use super::cache::Cache;
use super::data::{Data, Part};
use super::signals::StopFlag;
use crate::config::Config;
use crate::protocol::record::EnvAccuracy;
use anyhow::Result;
use moa_infer::evaluate::evaluate;
use moa_infer::predictor::Predictor;
use std::collections::BTreeMap;

/// Accuracies in the order of the environments.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// One per environment.
    pub envs: Vec<EnvAccuracy>,
    /// Training-domain validation: the mean over the training environments of
    /// their out-part's accuracy.
    pub train_out: f64,
    /// The same mean of the negative log likelihood.
    pub train_out_loss: f64,
}

/// Evaluates [`Data::evaluated`], with the values of frozen layers from `cache` if there
/// is one. `None` if a signal asked to stop.
///
/// # Errors
/// If an image cannot be read.
pub fn run(
    predictor: &Predictor,
    data: &Data,
    config: &Config,
    mut cache: Option<&mut Cache>,
    stop: &StopFlag,
) -> Result<Option<Evaluation>> {
    let (classes, how) = (data.dataset.classes.len(), (config.eval.batch, config.data.workers));
    let mut found = BTreeMap::new();
    for (env, part) in data.evaluated() {
        let samples = data.samples(env, part, config.eval.max_images);
        let stop = || stop.is_set();
        let metrics = match &mut cache {
            _ if samples.is_empty() => continue, // nothing was left out of this environment
            Some(cache) => cache.evaluate(predictor, (env, part), &samples, classes, how, stop)?,
            None => evaluate(predictor, &samples, classes, how, stop)?,
        };
        let Some(metrics) = metrics else { return Ok(None) };
        found.insert((env, part), (metrics.accuracy, metrics.nll));
    }
    let nothing = (f64::NAN, f64::NAN);
    let measured = |env, part| found.get(&(env, part)).copied().unwrap_or(nothing);
    let accuracy = |env, part| measured(env, part).0;
    let envs: Vec<_> = (0..data.dataset.envs.len())
        .map(|env| EnvAccuracy {
            in_acc: data.test_envs.contains(&env).then(|| accuracy(env, Part::In)),
            out_acc: accuracy(env, Part::Out),
        })
        .collect();
    let outs: Vec<f64> =
        data.train_envs().map(|env| envs[env].out_acc).filter(|a| !a.is_nan()).collect();
    let losses: Vec<f64> =
        data.train_envs().map(|env| measured(env, Part::Out).1).filter(|l| !l.is_nan()).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (train_out, train_out_loss) = (mean(&outs), mean(&losses));
    Ok(Some(Evaluation { envs, train_out, train_out_loss }))
}
