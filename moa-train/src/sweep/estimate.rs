//! What the runs of a sweep will take, from a few steps of each kind.

use super::jobs::Job;
use crate::config::Config;
use crate::fit::{Learner, Plan, estimate, step};
use crate::optim::Adam;
use anyhow::{Context, Result};
use moa_infer::evaluate::evaluate;
use moa_infer::predictor::Predictor;
use serde::Serialize;
use std::time::Instant;

/// Steps that are timed, after one that is not.
const STEPS: u64 = 2;

/// Of one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// Parameters that train, without the head.
    pub parameters: usize,
    /// Bytes at its peak, roughly.
    pub memory: usize,
    /// Seconds a training step; 0 if it was not timed.
    pub step_s: f64,
    /// Seconds for each image that is evaluated.
    pub image_s: f64,
    /// Hours in all.
    pub hours: f64,
}

/// Builds the run and, if `timed`, trains it for a few steps that are thrown away.
///
/// # Errors
/// If it could not be begun.
pub fn cost(config: &Config, timed: bool) -> Result<Cost> {
    let mut plan = Plan::new(config.clone())?;
    let (parameters, memory) = (plan.model.trainable_parameters(), estimate(&plan));
    let nothing = Cost { parameters, memory, step_s: 0.0, image_s: 0.0, hours: 0.0 };
    if !timed {
        return Ok(nothing);
    }
    let image_s = image_seconds(&plan)?; // its first pass is for nothing, too
    let step_s = step_seconds(&mut plan)?;
    let limit = config.eval.max_images;
    let images: usize =
        plan.data.evaluated().map(|(env, part)| plan.data.count(env, part, limit)).sum();
    let every = config.train.eval_every;
    let last = config.train.steps - 1;
    let evaluations = last / every + 1 + u64::from(!last.is_multiple_of(every));
    let seconds = config.train.steps as f64 * step_s + evaluations as f64 * images as f64 * image_s;
    Ok(Cost { step_s, image_s, hours: seconds / 3600.0, ..nothing })
}

fn step_seconds(plan: &mut Plan) -> Result<f64> {
    let config = &plan.config;
    let mut adam = Adam::new(&config.optim, plan.model.trainable())?;
    let size = (plan.preprocess.height, plan.preprocess.width);
    let loader = plan.batches().start(0, config.data.workers);
    let mut loader = loader.map(|batch| batch.context("a training image cannot be read"));
    let mut started = Instant::now();
    for at in 0..=STEPS {
        let learner = Learner { model: &plan.model, adam: &mut adam, miro: plan.miro.as_mut() };
        step(learner, config, size, &mut loader, at, &plan.device)?;
        if at == 0 {
            started = Instant::now();
        }
    }
    Ok(started.elapsed().as_secs_f64() / STEPS as f64)
}

fn image_seconds(plan: &Plan) -> Result<f64> {
    let config = &plan.config;
    let predictor = Predictor::of(plan.model.clone(), plan.preprocess.clone(), &plan.device);
    let how = (config.eval.batch, config.data.workers);
    let parts = plan
        .data
        .evaluated()
        .map(|(env, part)| plan.data.samples(env, part, 2 * config.eval.batch));
    let samples = parts.max_by_key(Vec::len).unwrap_or_default();
    let warm = samples.len().min(config.eval.batch);
    evaluate(&predictor, &samples[..warm], how, || false)?;
    let started = Instant::now();
    evaluate(&predictor, &samples, how, || false)?;
    Ok(started.elapsed().as_secs_f64() / samples.len().max(1) as f64)
}

/// Jobs of one dataset and method.
pub struct Kind<'a> {
    /// The first of them.
    pub job: &'a Job,
    /// How many there are.
    pub count: usize,
}

/// The kinds of jobs, in their order.
pub fn kinds(jobs: &[Job]) -> Vec<Kind<'_>> {
    let mut kinds: Vec<Kind<'_>> = Vec::new();
    let key = |job: &Job| {
        (job.config.data.dataset.clone(), job.config.data.root.clone(), job.config.label())
    };
    for job in jobs {
        match kinds.iter_mut().find(|kind| key(kind.job) == key(job)) {
            Some(kind) => kind.count += 1,
            None => kinds.push(Kind { job, count: 1 }),
        }
    }
    kinds
}
