//! Pretraining of the `tiny` backbone on generated images.
//!
//! A small ViT learns, from random weights and with the `full` method, to tell
//! the classes of [`crate::synth`]'s pretraining family apart in all its styles.
//! The demo's classes and styles are others.

use crate::config::{OptimConfig, OptimKind, ScheduleKind};
use crate::fit::step_losses;
use crate::optim::{Adam, Gradients, clip, learning_rate, norm};
use crate::random_backbone::{write_backbone, write_random};
use crate::synth::{Family, classes, draw, styles};
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use moa_core::backbone::{Backbone, VitConfig, registry};
use moa_core::files::replace_dir;
use moa_core::image::Normalise;
use moa_core::method::preset;
use moa_core::model::{Build, Classifier, initial};
use moa_core::pass::{Pass, Seeded};
use moa_infer::metrics::argmax;
use moa_infer::prefetch::{Prefetch, workers};
use moa_kernels::rng::{Key, Purpose};
use std::path::Path;

/// Side of the images.
pub const SIZE: usize = 48;
const PATCH: usize = 8;
const DIM: usize = 128;
const DEPTH: usize = 6;
const HEADS: usize = 4;
const MEAN: [f32; 3] = [0.5; 3];

/// How to pretrain.
pub struct Pretrain {
    /// Optimiser steps.
    pub steps: u64,
    /// Images per step.
    pub batch: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Seed of everything.
    pub seed: u64,
}

/// timm's `config.json` of the backbone.
fn config() -> serde_json::Value {
    serde_json::json!({
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 0,
        "num_features": DIM,
        "global_pool": "token",
        "model_args": {
            "img_size": SIZE, "patch_size": PATCH, "embed_dim": DIM, "depth": DEPTH,
            "num_heads": HEADS, "num_classes": 0
        },
        "pretrained_cfg": {
            "tag": "moa_drawings", "input_size": [3, SIZE, SIZE], "interpolation": "bilinear",
            "crop_pct": 1.0, "crop_mode": "squash", "mean": MEAN, "std": MEAN, "num_classes": 0,
            "first_conv": "patch_embed.proj", "classifier": "head", "license": "mit"
        }
    })
}

/// The architecture that [`config`] names.
fn vit() -> Result<VitConfig> {
    Ok(VitConfig {
        image_size: (SIZE, SIZE),
        patch_size: PATCH,
        dim: DIM,
        depth: DEPTH,
        heads: HEADS,
        mlp_hidden: 4 * DIM,
        ..registry::find("vit-tiny-16-augreg")?.vit
    })
}

/// Styles with plain backgrounds, which shapes are learnt from first.
const PLAIN: &[&str] = &["blueprint", "chalk", "contour", "neon", "silhouette"];

/// What a step draws its images from.
///
/// Nothing but shape tells the classes apart, and from fresh images of all styles
/// a transformer stays at chance for thousands of steps. So it starts with a few
/// images, which it can learn by heart, and their number doubles twenty times;
/// the first third of the steps shows plain styles only.
struct Lesson {
    styles: Vec<usize>,
    images: u32,
}

impl Lesson {
    fn new(step: u64, steps: u64) -> Self {
        let all = styles(Family::Pretrain).iter().enumerate();
        let styles = all.filter(|(_, name)| 3 * step >= steps || PLAIN.contains(name));
        let doublings = (20 * step / steps).min(16);
        Self { styles: styles.map(|(i, _)| i).collect(), images: 512 << doublings }
    }
}

/// One drawn image: normalised pixels and class.
fn example(key: Key, index: u64, styles: &[usize]) -> (Vec<f32>, u32) {
    let mut draws = key.draws(index);
    let style = styles[draws.below(styles.len() as u32) as usize];
    let class = draws.below(classes(Family::Pretrain).len() as u32) as usize;
    let image = draw(Family::Pretrain, style, class, SIZE as u32, &mut draws);
    let mut pixels = vec![0.0; 3 * SIZE * SIZE];
    Normalise::new(MEAN, MEAN).apply_into(&image, &mut pixels);
    (pixels, class as u32)
}

/// One batch; `unseen` ones come from images that no lesson has.
fn batch(seed: u64, step: u32, size: usize, lesson: &Lesson, unseen: bool) -> (Vec<f32>, Vec<u32>) {
    let key = Key::new(seed, Purpose::Drawing, u32::from(unseen));
    let mut pick = Key::new(seed, Purpose::Sampling, step).draws(0);
    let one = |_| example(key, pick.below(lesson.images) as u64, &lesson.styles);
    let (pixels, labels): (Vec<_>, Vec<_>) = (0..size).map(one).unzip();
    (pixels.concat(), labels)
}

/// Pretrains and writes a backbone folder in timm's layout to `out`.
///
/// # Errors
/// If a loss is not finite or the folder cannot be written.
pub fn pretrain(out: &Path, p: &Pretrain, mut say: impl FnMut(&str)) -> Result<()> {
    replace_dir(out, |dir| -> Result<()> {
        write_random(dir, &config(), &vit()?, p.seed)?;
        let (backbone, method) = (Backbone::open(dir)?, preset("full")?);
        let (image_size, device) = ((SIZE, SIZE), Device::Cpu);
        let build = Build {
            backbone: &backbone,
            method: &method,
            image_size,
            dtype: DType::F32,
            device: &device,
        };
        let count = classes(Family::Pretrain).len();
        let model =
            build.adapted(&initial(&method, &backbone.config, count, p.seed)?, 0.0, true)?;
        train(&model, p, &mut say)?;
        let body = model.trainable().iter().filter(|(name, _)| !name.starts_with("head."));
        let body = body.map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect();
        write_backbone(dir, &config(), &body)
    })
}

fn train(model: &Classifier, p: &Pretrain, say: &mut impl FnMut(&str)) -> Result<()> {
    let optim = OptimConfig {
        kind: OptimKind::Adamw,
        lr: p.lr,
        weight_decay: 0.05,
        schedule: ScheduleKind::Cosine,
        warmup: p.steps / 20,
    };
    let mut adam = Adam::new(&optim, model.trainable())?;
    let (seed, size, steps) = (p.seed, p.batch, p.steps);
    let batches = Prefetch::new(0..p.steps as u32, workers(0), 1, move |step| {
        batch(seed, step, size, &Lesson::new(step as u64, steps), false)
    });
    for (step, (pixels, labels)) in (0..).zip(batches) {
        let images = Tensor::from_vec(pixels, (labels.len(), 3, SIZE, SIZE), &Device::Cpu)?;
        let random = Seeded { seed, step: step as u32 };
        let mut gradients = Gradients::new();
        let losses =
            step_losses(model, &images, &labels, Pass::train(&random), None, 1.0, &mut gradients)?;
        let size = norm(&gradients)?;
        anyhow::ensure!(size.is_finite(), "step {step}: a gradient is not finite; lower --lr");
        clip(&mut gradients, size, 1.0)?;
        adam.step(model.trainable(), &gradients, learning_rate(&optim, step, p.steps))?;
        if step % 50 == 0 || step + 1 == p.steps {
            say(&format!(
                "step {step}: loss {:.3}, accuracy {:.1} %",
                losses.ce,
                100.0 * accuracy(model, p)?
            ));
        }
    }
    Ok(())
}

/// Accuracy on images that are never trained on.
fn accuracy(model: &Classifier, p: &Pretrain) -> Result<f64> {
    let lesson = Lesson::new(p.steps, p.steps);
    let (pixels, labels) = batch(p.seed, 0, 256, &lesson, true);
    let images = Tensor::from_vec(pixels, (labels.len(), 3, SIZE, SIZE), &Device::Cpu)?;
    let logits = model.logits(&images, &Pass::eval())?.context("the model has no head")?;
    let rows = logits.to_vec2::<f32>()?;
    let right = rows.iter().zip(&labels).filter(|(row, l)| argmax(row) == **l as usize).count();
    Ok(right as f64 / labels.len() as f64)
}
