//! The configuration of a run: TOML tables whose keys are listed, with their
//! meaning, in [`keys`]; layers of it from the defaults to `--set` in [`layers`].

pub mod keys;
pub mod layers;
pub mod saved;

use crate::miro::MiroConfig;
use crate::swad::SwadConfig;
use candle_core::DType;
use moa_core::method::Method;
use moa_infer::evaluate::MAX_BATCH;
use moa_infer::prefetch::MAX_WORKERS;
use serde::{Deserialize, Serialize};

/// Evaluations that SWAD may look back on: it keeps that many copies of what trains.
const MAX_SEGMENTS: usize = 100;

/// A whole configuration, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[backbone]`
    pub backbone: BackboneConfig,
    /// `[method]`
    pub method: Method,
    /// `[data]`
    pub data: DataConfig,
    /// `[train]`
    pub train: TrainConfig,
    /// `[optim]`
    pub optim: OptimConfig,
    /// `[checkpoint]`
    pub checkpoint: CheckpointConfig,
    /// `[eval]`
    pub eval: EvalConfig,
    /// `[swad]`
    pub swad: SwadConfig,
    /// `[miro]`
    pub miro: MiroConfig,
    /// `[head]`
    pub head: HeadConfig,
}

/// `[backbone]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneConfig {
    /// Name or folder.
    pub spec: String,
}

/// How training images are changed at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augment {
    /// DomainBed's: crop, flip, colour, grey.
    Domainbed,
    /// Not at all: the evaluation's transform.
    None,
}

/// `[data]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// `pacs`, `vlcs`, `office_home`, `terra_incognita`, `domain_net` or `folder`.
    pub dataset: String,
    /// The folder that holds it.
    pub root: String,
    /// Environments that are held out.
    pub test_env: Vec<String>,
    /// Share of each environment held out for validation.
    pub holdout: f64,
    /// Seed of the splits.
    pub trial_seed: u64,
    /// Augmentation of training images.
    pub augment: Augment,
    /// Height and width of the input; 0 for the backbone's own.
    pub image_size: usize,
    /// Threads that read images; 0 for one per core.
    pub workers: usize,
}

/// Type to compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComputeType {
    /// Single precision.
    F32,
    /// bfloat16 for tokens and frozen weights; what trains, its moments and its gradients
    /// stay in single precision. On a GPU.
    Bf16,
}

impl From<ComputeType> for DType {
    fn from(kind: ComputeType) -> Self {
        match kind {
            ComputeType::F32 => DType::F32,
            ComputeType::Bf16 => DType::BF16,
        }
    }
}

/// `[train]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps.
    pub steps: u64,
    /// Images per training environment and micro-batch.
    pub batch_per_env: usize,
    /// Steps between evaluations.
    pub eval_every: u64,
    /// Seed of everything but the splits.
    pub seed: u64,
    /// Number of these hyper-parameters among those of a sweep.
    pub hparams_seed: u64,
    /// Micro-batches per step.
    pub accumulate: u64,
    /// Largest norm of all gradients together; 0 for no limit.
    pub clip: f64,
    /// Compute inner values of frozen MLPs again in the backward pass instead of
    /// keeping them.
    pub checkpoint_activations: bool,
    /// Type to compute in.
    pub dtype: ComputeType,
    /// `auto`, `cpu`, `cuda`, `cuda:N` or `metal`.
    pub device: String,
}

/// Which optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimKind {
    /// Adam; weight decay is added to the gradient.
    Adam,
    /// AdamW; weight decay is decoupled.
    Adamw,
}

/// How the learning rate changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Not at all after the warm-up.
    Constant,
    /// Half a cosine down to 0 after the warm-up.
    Cosine,
}

/// `[optim]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimConfig {
    /// Which optimiser.
    pub kind: OptimKind,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// How the learning rate changes.
    pub schedule: ScheduleKind,
    /// Steps over which the learning rate rises from 0.
    pub warmup: u64,
}

/// `[checkpoint]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between checkpoints.
    pub every: u64,
    /// How many are kept.
    pub keep: usize,
}

/// `[eval]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
    /// Images per forward pass.
    pub batch: usize,
    /// At most this many images of each split; 0 for all.
    pub max_images: usize,
    /// Keep what enters the first trained part of every image instead of computing it
    /// again each time.
    pub cache_features: bool,
    /// The most that may be kept for it, in MiB.
    pub cache_limit: u64,
}

/// Where a head begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadInit {
    /// Uniform, PyTorch's `nn.Linear`.
    Default,
    /// From the names of the classes, by CLIP's text tower.
    ZeroShot,
}

/// `[head]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// Where the head begins.
    pub init: HeadInit,
    /// Zero-shot: text around a class name, `{}`.
    pub template: String,
    /// Zero-shot: file of CLIP's tokenizer; empty for the one in the backbone's folder.
    pub tokenizer: String,
    /// Probability of dropout in front of the head.
    pub dropout: f64,
}

impl Config {
    /// What a table calls runs like this: the method, and what regularises it.
    pub fn label(&self) -> String {
        let miro = if self.miro.weight == 0.0 { "" } else { " + MIRO" };
        self.method.label() + miro
    }

    /// Checks what types alone do not.
    ///
    /// # Errors
    /// The first value out of its range, with the key and the range.
    pub fn check(&self) -> Result<(), String> {
        let (train, optim, swad) = (&self.train, &self.optim, &self.swad);
        let finite = |value: f64| (0.0..f64::INFINITY).contains(&value);
        let batch = 1..=MAX_BATCH;
        let plain = |text: &String| !text.contains(char::is_control);
        let updates = train.steps.saturating_mul(train.accumulate);
        let images = &*format!("be from 1 to {MAX_BATCH}");
        let workers = &*format!("be at most {MAX_WORKERS}");
        let rules = [
            (train.steps > 0, "train.steps", "be at least 1"),
            (train.accumulate > 0, "train.accumulate", "be at least 1"),
            (
                updates < u64::from(u32::MAX),
                "train.steps x train.accumulate",
                "be at most 4294967294",
            ),
            (batch.contains(&train.batch_per_env), "train.batch_per_env", images),
            (train.eval_every > 0, "train.eval_every", "be at least 1"),
            (finite(train.clip), "train.clip", "be a number, 0 or above"),
            ((1..=MAX_SEGMENTS).contains(&swad.n_converge), "swad.n_converge", "be from 1 to 100"),
            (
                (1..=MAX_SEGMENTS).contains(&swad.n_tolerance),
                "swad.n_tolerance",
                "be from 1 to 100",
            ),
            (finite(swad.tolerance_ratio), "swad.tolerance_ratio", "be a number, 0 or above"),
            (finite(self.miro.weight), "miro.weight", "be a number, 0 or above"),
            (finite(self.miro.lr_mult), "miro.lr_mult", "be a number, 0 or above"),
            (finite(optim.lr) && optim.lr > 0.0, "optim.lr", "be a number above 0"),
            (finite(optim.weight_decay), "optim.weight_decay", "be a number, 0 or above"),
            (self.checkpoint.every > 0, "checkpoint.every", "be at least 1"),
            (self.checkpoint.keep > 0, "checkpoint.keep", "be at least 1"),
            (batch.contains(&self.eval.batch), "eval.batch", images),
            (self.eval.cache_limit > 0, "eval.cache_limit", "be at least 1"),
            (self.head.template.contains("{}"), "head.template", "hold {} for the class name"),
            (plain(&self.head.tokenizer), "head.tokenizer", "hold no control character"),
            (self.data.workers <= MAX_WORKERS, "data.workers", workers),
            ((0.0..1.0).contains(&self.head.dropout), "head.dropout", "be in [0, 1)"),
            ((1e-6..1.0).contains(&self.data.holdout), "data.holdout", "be above 0 and below 1"),
            (!self.data.test_env.is_empty(), "data.test_env", "name an environment"),
            (self.data.test_env.iter().all(plain), "data.test_env", "hold no control character"),
            (plain(&self.data.root), "data.root", "hold no control character"),
            (plain(&self.backbone.spec), "backbone.spec", "hold no control character"),
        ];
        match rules.iter().find(|(holds, ..)| !holds) {
            Some((_, key, rule)) => Err(format!("{key} must {rule}")),
            None => Ok(()),
        }
    }
}
