//! A run from its configuration to its last checkpoint.

use super::data::Data;
use super::evaluation::{self, Evaluation};
use super::events::{Events, truncate};
use super::progress::Progress;
use super::signals::StopFlag;
use super::step::{Losses, step};
use crate::batches;
use crate::checkpoint::{self, State};
use crate::config::Config;
use crate::optim::Adam;
use crate::protocol::args::Args;
use crate::protocol::record::Record;
use crate::protocol::results::{RESULTS_FILE, append_record};
use anyhow::{Context, Result};
use candle_core::{DType, Device};
use moa_core::image::{Interpolation, Preprocess, ResizeRule};
use moa_core::model::{AdapterFolder, BackboneRef, Build, Card, Classifier, Training, initial};
use moa_infer::dataset::DatasetKind;
use moa_infer::predictor::Predictor;
use serde_json::{Map, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Everything that a run needs, opened and checked, nothing written yet.
pub struct Plan {
    /// The configuration.
    pub config: Config,
    /// The images.
    pub data: Data,
    /// The model, at its initial values.
    pub model: Classifier,
    /// How images become input.
    pub preprocess: Preprocess,
    /// Where it computes.
    pub device: Device,
    backbone: BackboneRef,
}

impl Plan {
    /// Opens data and backbone and builds the model.
    ///
    /// # Errors
    /// If something is missing or does not fit.
    pub fn new(config: Config) -> Result<Self> {
        let device = config.train.device.parse::<moa_core::device::DeviceSpec>()?.open()?;
        let data = Data::open(&config)?;
        let backbone = moa_infer::spec::open_backbone(&config.backbone.spec)?;
        // DomainBed's transform: the whole image, squashed; the backbone's colours.
        let own = &backbone.preprocess;
        let (height, width) = match config.data.image_size {
            0 => (own.height, own.width),
            size => (size, size),
        };
        let (resize, interpolation) = (ResizeRule::Squash, Interpolation::Bilinear);
        let preprocess = Preprocess { height, width, resize, interpolation, ..own.clone() };
        preprocess.check()?;
        let build = Build {
            backbone: &backbone,
            method: &config.method,
            image_size: (height, width),
            dtype: DType::F32,
            device: &device,
        };
        let (classes, seed) = (data.dataset.classes.len(), config.train.seed);
        let tensors = initial(&config.method, &backbone.config, classes, seed)?;
        let model = build.adapted(&tensors, config.head.dropout, true)?;
        let backbone = BackboneRef {
            spec: moa_infer::spec::recorded(&config.backbone.spec),
            sha256: backbone.sha256()?,
            layout: backbone.layout,
            vit: model.vit.config.clone(),
        };
        Ok(Self { config, data, model, preprocess, device, backbone })
    }

    /// The trained tensors as they are now, as an adapter folder.
    ///
    /// # Errors
    /// If an environment has no name.
    pub fn adapter(&self, step: u64) -> Result<AdapterFolder> {
        let (config, data) = (&self.config, &self.data);
        let training = Training {
            dataset: data.dataset.name.clone(),
            train_envs: data.names(data.train_envs())?,
            test_envs: data.names(data.test_envs.iter().copied())?,
            holdout: config.data.holdout,
            trial_seed: config.data.trial_seed,
            seed: config.train.seed,
            step,
        };
        let (method, classes) = (config.method.clone(), data.dataset.classes.clone());
        let (backbone, preprocess) = (self.backbone.clone(), self.preprocess.clone());
        let card = Card::new(method, classes, backbone, preprocess, training);
        let tensors = self.model.trainable().iter();
        let tensors = tensors.map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect();
        Ok(AdapterFolder { card, tensors })
    }

    /// Parameters of the head.
    pub fn head_parameters(&self) -> usize {
        let all = self.model.trainable().iter();
        all.filter(|(name, _)| name.starts_with("head.")).map(|(_, v)| v.elem_count()).sum()
    }

    fn batches(&self) -> batches::Plan {
        batches::Plan {
            pools: Arc::new(self.data.pools()),
            per_env: self.config.train.batch_per_env,
            seed: self.config.train.seed,
            augment: self.config.data.augment,
            preprocess: self.preprocess.clone(),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// All steps are done.
    Done {
        /// Best validation accuracy and the step that had it.
        best: (f64, u64),
    },
    /// A signal came; a checkpoint was written after this many steps.
    Interrupted(u64),
}

/// A run in its folder.
pub struct Run {
    plan: Plan,
    dir: PathBuf,
    adam: Adam,
    state: State,
    events: Events,
    silent: bool,
}

impl Run {
    /// Starts a run in `dir`, or takes it up from its newest whole checkpoint.
    /// `config_text` is written as `config.toml` of a new run.
    ///
    /// # Errors
    /// If the folder cannot be written or its checkpoints are damaged.
    pub fn start(
        plan: Plan,
        dir: &Path,
        resume: bool,
        config_text: &str,
        silent: bool,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let mut adam = Adam::new(&plan.config.optim, plan.model.trainable())?;
        let mut state = State::default();
        if resume {
            let (found, damaged) = checkpoint::read_newest(&dir.join("checkpoints"))?;
            damaged.iter().for_each(|line| eprintln!("{line}"));
            if let Some(found) = found {
                let hash = &found.adapter.card.backbone.sha256;
                anyhow::ensure!(*hash == plan.backbone.sha256, "the run used another backbone");
                for (name, var) in plan.model.trainable() {
                    let tensor = found.adapter.tensors.get(name);
                    var.set(
                        &tensor
                            .with_context(|| format!("`{name}` is missing"))?
                            .to_device(var.device())?,
                    )?;
                }
                adam.restore(found.optimizer, found.state.step)?;
                state = found.state;
            }
        } else {
            checkpoint::write_synced(&dir.join("config.toml"), config_text)?;
        }
        let first = state.step - u64::from(state.pending_eval);
        for file in ["events.jsonl", RESULTS_FILE] {
            truncate(&dir.join(file), first)?;
        }
        let events = Events::open(&dir.join("events.jsonl"))?;
        Ok(Self { plan, dir: dir.into(), adam, state, events, silent })
    }

    /// Steps that are done.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// Trains to the end, or until a signal.
    ///
    /// # Errors
    /// If an image cannot be read, a loss is not finite, or the folder cannot be written.
    pub fn fit(mut self, stop: &StopFlag) -> Result<Outcome> {
        let config = self.plan.config.clone();
        let steps = config.train.steps;
        let mut progress = Progress::new(self.state.step, steps, self.silent);
        if self.state.pending_eval {
            if !self.evaluate(stop, &progress)? {
                return self.interrupted();
            }
            self.checkpoint()?;
        }
        let size = (self.plan.preprocess.height, self.plan.preprocess.width);
        let first = (self.state.step * config.train.accumulate) as u32;
        let loader = self.plan.batches().start(first, config.data.workers);
        let mut loader = loader.map(|batch| batch.context("a training image cannot be read"));
        while self.state.step < steps {
            let (at, started) = (self.state.step, Instant::now());
            let (model, device) = (&self.plan.model, &self.plan.device);
            let (losses, images) =
                step(model, &mut self.adam, &config, size, &mut loader, at, device)
                    .with_context(|| format!("step {at}"))?;
            let rate = self.count(&losses, images, started);
            progress.step(at, &losses, rate);
            self.events.step(at, &losses, rate)?;

            let last = self.state.step == steps;
            self.state.pending_eval = last || at.is_multiple_of(config.train.eval_every);
            if self.state.pending_eval && !self.evaluate(stop, &progress)? {
                return self.interrupted();
            }
            if stop.is_set() && !last {
                return self.interrupted();
            }
            if last || self.state.step.is_multiple_of(config.checkpoint.every) {
                self.checkpoint()?;
            }
        }
        Ok(Outcome::Done { best: self.state.best.context("no evaluation was made")? })
    }

    fn count(&mut self, losses: &Losses, images: usize, started: Instant) -> f64 {
        let seconds = started.elapsed().as_secs_f64();
        self.state.step += 1;
        self.state.losses.0 += losses.total();
        self.state.losses.1 += 1;
        self.state.seconds += seconds;
        images as f64 / seconds
    }

    fn checkpoint(&self) -> Result<()> {
        let adapter = self.plan.adapter(self.state.step)?;
        let (dir, keep) = (self.dir.join("checkpoints"), self.plan.config.checkpoint.keep);
        checkpoint::write(&dir, &adapter, &self.adam, &self.state, keep)
    }

    fn interrupted(self) -> Result<Outcome> {
        self.checkpoint()?;
        Ok(Outcome::Interrupted(self.state.step))
    }

    /// Evaluates the step just done; false if a signal came before the end.
    fn evaluate(&mut self, stop: &StopFlag, progress: &Progress) -> Result<bool> {
        let (plan, at) = (&self.plan, self.state.step - 1);
        let predictor = Predictor::of(plan.model.clone(), plan.preprocess.clone(), &plan.device);
        let started = Instant::now();
        let found = evaluation::run(&predictor, &plan.data, &plan.config, stop, |_| {})?;
        let Some(evaluation) = found else { return Ok(false) };
        let record = self.record(at, &evaluation);
        append_record(&self.dir.join(RESULTS_FILE), &record)?;
        // The first maximum wins, as in the paper's selection.
        let better = self.state.best.is_none_or(|(best, _)| evaluation.train_out > best);
        if better {
            self.state.best = Some((evaluation.train_out, at));
            self.plan.adapter(at)?.write(&self.dir.join("best"))?;
        }
        let names = plan.data.dataset.envs.iter().map(|env| env.name.as_str());
        let envs: Map<_, _> = names
            .zip(&evaluation.envs)
            .map(|(name, acc)| (name.into(), json!({"in": acc.in_acc, "out": acc.out_acc})))
            .collect();
        self.events.line(&json!({
            "kind": "eval",
            "step": at,
            "train_out": evaluation.train_out,
            "best": better,
            "envs": envs,
            "seconds": started.elapsed().as_secs_f64(),
        }))?;
        progress.line(&self.summary(at, &evaluation, better));
        self.state.pending_eval = false;
        self.state.losses = (0.0, 0);
        self.state.seconds = 0.0;
        Ok(true)
    }

    fn summary(&self, at: u64, evaluation: &Evaluation, better: bool) -> String {
        let envs = &self.plan.data.dataset.envs;
        let cells: Vec<String> = envs
            .iter()
            .zip(&evaluation.envs)
            .enumerate()
            .map(|(i, (env, acc))| match acc.in_acc {
                Some(inside) if self.plan.data.test_envs.contains(&i) => {
                    format!("{} {:.1} (held out)", env.name, 100.0 * inside)
                }
                _ => format!("{} {:.1}", env.name, 100.0 * acc.out_acc),
            })
            .collect();
        let mark = if better { "  <- best so far" } else { "" };
        let mean = 100.0 * evaluation.train_out;
        format!("eval step {at}: validation {mean:.1} %  {}{mark}", cells.join("  "))
    }

    fn record(&self, at: u64, evaluation: &Evaluation) -> Record {
        let (config, data) = (&self.plan.config, &self.plan.data);
        let smallest = data.train_envs().map(|env| data.splits[env].in_.len()).min().unwrap_or(1);
        let images = (at + 1) * config.train.accumulate * config.train.batch_per_env as u64;
        let (sum, count) = self.state.losses;
        let mean = |total: f64| (count > 0).then(|| total / count as f64);
        let hparams = json!({
            "lr": config.optim.lr,
            "batch_size": config.train.batch_per_env,
            "weight_decay": config.optim.weight_decay,
            "resnet_dropout": config.head.dropout,
            "data_augmentation": config.data.augment == crate::config::Augment::Domainbed,
            "class_balanced": false,
        });
        Record {
            step: at,
            epoch: images as f64 / smallest as f64,
            loss: mean(sum),
            step_time: mean(self.state.seconds),
            mem_gb: Some(0.0),
            envs: evaluation.envs.clone(),
            args: Args {
                algorithm: config.method.name.clone(),
                dataset: data.dataset.name.clone(),
                test_envs: data.test_envs.clone(),
                trial_seed: config.data.trial_seed,
                hparams_seed: 0,
                seed: config.train.seed,
                holdout_fraction: config.data.holdout,
                task: "domain_generalization".into(),
                steps: Some(config.train.steps),
                checkpoint_freq: Some(config.train.eval_every),
                uda_holdout_fraction: 0.0,
                env_names: match data.dataset.kind {
                    DatasetKind::Folder => {
                        data.names(0..data.dataset.envs.len()).unwrap_or_default()
                    }
                    _ => Vec::new(),
                },
                extra: Map::new(),
            },
            hparams: hparams.as_object().cloned().unwrap_or_default(),
            extra: Map::new(),
        }
    }
}
