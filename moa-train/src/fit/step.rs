//! One optimiser step: losses, gradients, update.

use crate::batches::Batch;
use crate::config::Config;
use crate::host::{in_double, scalar};
use crate::miro::Miro;
use crate::optim::{Adam, Gradients, clip, first_not_finite, learning_rate, norm};
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use moa_core::model::Classifier;
use moa_core::pass::{Pass, Seeded};
use moa_core::vit::Stages;
use moa_kernels::{Tape, cross_entropy::cross_entropy};
use std::collections::BTreeMap;

/// What a step reports.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    /// Mean cross-entropy.
    pub ce: f64,
    /// Sum of the balance losses of all layers.
    pub balance: f64,
    /// MIRO's penalty, if it is on.
    pub miro: Option<f64>,
    /// Norm of all gradients before clipping.
    pub norm: f64,
    /// The learning rate that was used.
    pub lr: f64,
    /// Tokens per expert of each routed layer.
    pub usage: BTreeMap<String, Vec<u32>>,
}

impl Losses {
    /// What is minimised.
    pub fn total(&self) -> f64 {
        self.ce + self.balance + self.miro.unwrap_or(0.0)
    }
}

/// Cross-entropy, balance loss and MIRO's penalty of one micro-batch, with gradients of
/// `share` times their sum added to `gradients`.
///
/// # Errors
/// If a loss is not finite: the first part of the model whose output is not is named.
pub fn step_losses(
    model: &Classifier,
    images: &Tensor,
    labels: &[u32],
    pass: Pass<'_>,
    miro: Option<&Miro>,
    share: f64,
    gradients: &mut Gradients,
) -> Result<Losses> {
    let targets = miro.map(|miro| miro.targets(images)).transpose()?;
    let (pass, tape) = (pass.watching(), Tape::start()?);
    let (logits, penalty) = match miro.zip(targets) {
        Some((miro, targets)) => {
            let (logits, penalty) = miro.logits(model, images, targets, &pass)?;
            (logits, Some(penalty))
        }
        None => (model.logits(images, &pass)?.context("the model has no head")?, None),
    };
    let ce = cross_entropy(&logits, labels)?;
    let balance = pass.balance()?;
    let mut total = ce.clone();
    for more in [&balance, &penalty].into_iter().flatten() {
        total = (total + more)?;
    }
    // A device is at work on the gradients while the host reads the losses.
    let mut store = tape.backward(&(total * share)?)?;
    let mut losses = Losses {
        ce: scalar(&ce)?,
        balance: balance.as_ref().map(scalar).transpose()?.unwrap_or(0.0),
        miro: penalty.as_ref().map(scalar).transpose()?,
        ..Losses::default()
    };
    if !losses.total().is_finite() {
        let place = first_bad_place(model, images, &pass)?;
        anyhow::bail!("the loss is {}: {place}; lower optim.lr or set train.clip", losses.total());
    }
    for (layer, routing) in pass.routings() {
        losses.usage.insert(layer.name, routing.tokens_per_expert()?);
    }
    for (name, var) in model.trainable().iter().chain(miro.into_iter().flat_map(Miro::scales)) {
        // Detached at once: a gradient keeps the whole graph alive otherwise.
        let gradient = match store.remove(var.as_tensor()) {
            Some(gradient) => gradient.detach(),
            None => var.zeros_like()?.detach(), // no token reached it
        };
        let sum = match gradients.remove(name) {
            Some(before) => (before + gradient)?,
            None => gradient,
        };
        gradients.insert(name.clone(), sum);
    }
    Ok(losses)
}

/// Names the first part of the model that gives a value that is not finite.
fn first_bad_place(model: &Classifier, images: &Tensor, pass: &Pass<'_>) -> Result<String> {
    let Stages { embedded, blocks, tokens, pooled } = model.vit.stages(images, pass)?;
    let mut parts =
        vec![("input image".to_string(), images.clone()), ("patch_embed".into(), embedded)];
    parts.extend(blocks.into_iter().enumerate().map(|(i, t)| (format!("blocks.{i}"), t)));
    parts.extend([("norm".to_string(), tokens), ("pooled feature".to_string(), pooled)]);
    for (name, tensor) in parts {
        let sum: f64 = in_double(&tensor)?.abs()?.sum_all()?.to_scalar()?;
        if !sum.is_finite() {
            return Ok(format!("the first value that is not finite comes out of `{name}`"));
        }
    }
    Ok("the first value that is not finite comes out of `head` or a router".into())
}

/// What learns in a step.
pub struct Learner<'a> {
    /// The model.
    pub model: &'a Classifier,
    /// Its optimiser.
    pub adam: &'a mut Adam,
    /// The term that holds it near the pretrained network.
    pub miro: Option<&'a mut Miro>,
}

/// Trains on the micro-batches of one step.
///
/// # Errors
/// If an image cannot be read, or a loss or gradient is not finite.
pub fn step(
    learner: Learner<'_>,
    config: &Config,
    (height, width): (usize, usize),
    batches: impl Iterator<Item = Result<Batch>>,
    step: u64,
    device: &Device,
) -> Result<(Losses, usize)> {
    let (Learner { model, adam, miro }, accumulate) = (learner, config.train.accumulate);
    let share = 1.0 / accumulate as f64;
    let (mut total, mut gradients, mut images) = (Losses::default(), Gradients::new(), 0);
    for (micro, batch) in (0..accumulate).zip(batches) {
        let batch = batch?;
        let shape = (batch.labels.len(), 3, height, width);
        images += batch.labels.len();
        let input = Tensor::from_vec(batch.pixels, shape, device)?;
        let seeded = Seeded { seed: config.train.seed, step: (step * accumulate + micro) as u32 };
        let pass = Pass::train(&seeded).recomputing(config.train.checkpoint_activations);
        let (labels, miro) = (&batch.labels, miro.as_deref());
        let losses = step_losses(model, &input, labels, pass, miro, share, &mut gradients)?;
        total.ce += losses.ce * share;
        total.balance += losses.balance * share;
        if let Some(penalty) = losses.miro {
            *total.miro.get_or_insert_default() += penalty * share;
        }
        for (layer, counts) in losses.usage {
            let sums = total.usage.entry(layer).or_insert_with(|| vec![0; counts.len()]);
            sums.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
    }
    total.norm = norm(&gradients)?;
    if !total.norm.is_finite() {
        let name = first_not_finite(&gradients)?.unwrap_or("?").to_string();
        anyhow::bail!("the gradient of `{name}` is not finite; lower optim.lr or set train.clip");
    }
    if config.train.clip > 0.0 {
        clip(&mut gradients, total.norm, config.train.clip)?;
    }
    total.lr = learning_rate(&config.optim, step, config.train.steps);
    adam.step(model.trainable(), &gradients, total.lr)?;
    if let Some(miro) = miro {
        miro.step(&gradients, total.lr)?;
    }
    Ok((total, images))
}
