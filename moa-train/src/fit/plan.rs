//! Data, backbone and model of a run.

use super::cache::Kept;
use super::data::Data;
use crate::batches;
use crate::checkpoint::{self, State};
use crate::config::{Config, HeadInit};
use crate::optim::Adam;
use crate::swad::{Swad, Tensors};
use anyhow::{Context, Result};
use candle_core::{DType, Device};
use moa_core::backbone::VitConfig;
use moa_core::device::DeviceSpec;
use moa_core::image::{Interpolation, Preprocess, ResizeRule};
use moa_core::model::{AdapterFolder, BackboneRef, Build, Card, Classifier, Training, initial};
use moa_infer::exit::{note, usage};
use moa_infer::zero_shot::zero_shot;
use std::path::Path;
use std::sync::Arc;

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
    /// What evaluation keeps of its images, if asked to and if there is anything.
    pub kept: Option<Kept>,
    pub(super) backbone: BackboneRef,
    data_sha256: String,
}

impl Plan {
    /// Opens data and backbone and builds the model.
    ///
    /// # Errors
    /// If something is missing or does not fit.
    pub fn new(config: Config) -> Result<Self> {
        let device: DeviceSpec =
            config.train.device.parse().map_err(|e: moa_core::Error| usage(e.to_string()))?;
        let device = device.open()?;
        let dtype: DType = config.train.dtype.into();
        if dtype != DType::F32 && device.is_cpu() {
            return Err(usage("train.dtype: bf16 needs a GPU; use f32"));
        }
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
        preprocess.check().map_err(|e| usage(e.to_string()))?;
        let patch = backbone.config.patch_size;
        if height % patch != 0 || width % patch != 0 {
            let size = format!("data.image_size: {height} x {width} pixels");
            return Err(usage(format!("{size} are not whole patches of {patch} x {patch}")));
        }
        config.method.check(&backbone.config).map_err(|e| usage(e.to_string()))?;
        let vit = VitConfig { image_size: (height, width), ..backbone.config.clone() };
        let kept = Kept::plan(&config, &data, &vit).map_err(usage)?;
        let build = Build {
            backbone: &backbone,
            method: &config.method,
            image_size: (height, width),
            dtype,
            device: &device,
        };
        let (classes, seed) = (data.dataset.classes.len(), config.train.seed);
        let mut tensors = initial(&config.method, &backbone.config, classes, seed)?;
        if config.head.init == HeadInit::ZeroShot {
            let (names, head) = (&data.dataset.classes, &config.head);
            let file = Some(Path::new(&head.tokenizer)).filter(|path| *path != Path::new(""));
            let template = std::slice::from_ref(&head.template);
            let head = zero_shot(&backbone, names, template, file, &Device::Cpu);
            let (weight, bias) = head.context("head.init = \"zero-shot\"")?.head()?;
            tensors.extend([("head.weight".into(), weight), ("head.bias".into(), bias)]);
        }
        let model = build.adapted(&tensors, config.head.dropout, true)?;
        let backbone = BackboneRef {
            spec: moa_infer::spec::recorded(&config.backbone.spec)?,
            sha256: backbone.sha256()?,
            layout: backbone.layout,
            vit: model.vit.config.clone(),
        };
        let data_sha256 = data.dataset.sha256();
        Ok(Self { config, data, model, preprocess, device, kept, backbone, data_sha256 })
    }

    /// The trained tensors as they are now, as an adapter folder.
    ///
    /// # Errors
    /// If an environment has no name.
    pub fn adapter(&self, step: u64) -> Result<AdapterFolder> {
        let (config, data) = (&self.config, &self.data);
        let training = Training {
            dataset: data.dataset.name.clone(),
            data_sha256: self.data_sha256.clone(),
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
        Ok(AdapterFolder { card, tensors: self.weights() })
    }

    /// What trains, as it is now; shared, so that it changes with the next step.
    pub(super) fn weights(&self) -> Tensors {
        let all = self.model.trainable().iter();
        all.map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect()
    }

    /// Sets what trains.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub(super) fn set_weights(&self, tensors: &Tensors) -> Result<()> {
        for (name, var) in self.model.trainable() {
            let tensor = tensors.get(name).with_context(|| format!("`{name}` is missing"))?;
            var.set(&tensor.to_device(var.device())?)?;
        }
        Ok(())
    }

    /// Parameters of the head.
    pub fn head_parameters(&self) -> usize {
        let all = self.model.trainable().iter();
        all.filter(|(name, _)| name.starts_with("head.")).map(|(_, v)| v.elem_count()).sum()
    }

    /// What decides which images every micro-batch holds.
    pub fn batches(&self) -> batches::Plan {
        batches::Plan {
            pools: Arc::new(self.data.pools()),
            per_env: self.config.train.batch_per_env,
            seed: self.config.train.seed,
            augment: self.config.data.augment,
            preprocess: self.preprocess.clone(),
        }
    }

    /// Takes model, optimiser and counters back from the newest whole checkpoint in
    /// `dir`; without one everything stays as it is.
    ///
    /// # Errors
    /// If there are checkpoints but none is whole, or it is of another run.
    pub(super) fn restore(&mut self, dir: &Path, adam: &mut Adam) -> Result<(State, Option<Swad>)> {
        let (found, damaged) = checkpoint::read_newest(dir)?;
        damaged.iter().for_each(note);
        let new = Swad::new(&self.config.swad);
        let Some(found) = found else { return Ok((State::default(), new)) };
        let hash = &found.adapter.card.backbone.sha256;
        anyhow::ensure!(
            *hash == self.backbone.sha256,
            "{}: the run used another backbone (sha256 {hash:.12}..., not {:.12}...)",
            dir.display(),
            self.backbone.sha256
        );
        anyhow::ensure!(
            found.adapter.card.training.data_sha256 == self.data_sha256,
            "{}: images were added, removed or renamed since the run began, so its splits would \
             change; put them back, or start anew with another --out",
            self.data.dataset.root.display()
        );
        self.set_weights(&found.adapter.tensors)?;
        // The folder may have another name by now; the results go on under the first.
        self.data.dataset.name = found.adapter.card.training.dataset;
        let mut state = found.state;
        anyhow::ensure!(
            state.step <= self.config.train.steps && (state.step > 0 || !state.pending_eval),
            "{}: a checkpoint of step {} is not of this run of {} steps",
            dir.display(),
            state.step,
            self.config.train.steps
        );
        adam.restore(found.optimizer, state.step).with_context(|| {
            format!("{}: the optimiser's state is of another method", dir.display())
        })?;
        let swad = match state.swad.take() {
            Some(numbers) => Swad::restore(&self.config.swad, numbers, found.swad, &self.device)?,
            None => new,
        };
        Ok((state, swad))
    }
}
