//! Accuracies of every environment at one step.

use super::cache::Cache;
use super::data::{Data, Part};
use super::signals::StopFlag;
use crate::config::Config;
use crate::protocol::record::EnvAccuracy;
use anyhow::Result;
use moa_infer::calibration::{Scored, temperature};
use moa_infer::evaluate::evaluate;
use moa_infer::metrics::Metrics;
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
    /// The temperature that is best for the out-parts of the training environments.
    pub temperature: f64,
    /// What the predictions of each part are worth.
    pub parts: BTreeMap<(usize, Part), Measured>,
}

/// Of one part.
#[derive(Clone, Debug)]
pub struct Measured {
    /// As they are.
    pub plain: Metrics,
    /// With the temperature.
    pub calibrated: Metrics,
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
    let mut scored = BTreeMap::new();
    for (env, part) in data.evaluated() {
        let samples = data.samples(env, part, config.eval.max_images);
        let stop = || stop.is_set();
        let found = match &mut cache {
            _ if samples.is_empty() => continue, // nothing was left out of this environment
            Some(cache) => cache.evaluate(predictor, (env, part), &samples, how, stop)?,
            None => evaluate(predictor, &samples, how, stop)?,
        };
        let Some(found) = found else { return Ok(None) };
        scored.insert((env, part), found);
    }
    let validation: Vec<_> =
        data.train_envs().filter_map(|env| scored.get(&(env, Part::Out))).collect();
    let temperature = temperature(&validation);
    let measured = |set: &Scored| Measured {
        plain: set.metrics(classes, 1.0),
        calibrated: set.metrics(classes, temperature),
    };
    let parts: BTreeMap<_, _> = scored.iter().map(|(place, set)| (*place, measured(set))).collect();
    let plain = |env, part| parts.get(&(env, part)).map(|measured| &measured.plain);
    let accuracy = |env, part| plain(env, part).map_or(f64::NAN, |m| m.accuracy);
    let envs: Vec<_> = (0..data.dataset.envs.len())
        .map(|env| EnvAccuracy {
            in_acc: data.test_envs.contains(&env).then(|| accuracy(env, Part::In)),
            out_acc: accuracy(env, Part::Out),
        })
        .collect();
    let outs: Vec<_> = data.train_envs().filter_map(|env| plain(env, Part::Out)).collect();
    let mean =
        |of: fn(&Metrics) -> f64| outs.iter().map(|m| of(m)).sum::<f64>() / outs.len() as f64;
    let (train_out, train_out_loss) = (mean(|m| m.accuracy), mean(|m| m.nll));
    Ok(Some(Evaluation { envs, train_out, train_out_loss, temperature, parts }))
}
