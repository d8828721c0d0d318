//! Data, backbone and model of a run.

use super::cache::Kept;
use super::data::Data;
use crate::batches;
use crate::config::{Config, HeadInit};
use crate::miro::Miro;
use anyhow::{Context, Result};
use candle_core::{DType, Device};
use moa_core::backbone::VitConfig;
use moa_core::device::DeviceSpec;
use moa_core::image::{Interpolation, Preprocess, ResizeRule};
use moa_core::model::{BackboneRef, Build, Classifier, initial};
use moa_infer::exit::usage;
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
    /// The term that holds features near the pretrained ones, if asked for.
    pub miro: Option<Miro>,
    pub(super) backbone: BackboneRef,
    pub(super) data_sha256: String,
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
        let miro = Miro::new(&config.miro, &config.optim, &model)?;
        let backbone = BackboneRef {
            spec: moa_infer::spec::recorded(&config.backbone.spec)?,
            sha256: backbone.sha256()?,
            layout: backbone.layout,
            vit: model.vit.config.clone(),
        };
        let data_sha256 = data.dataset.sha256();
        Ok(Self { config, data, model, preprocess, device, kept, miro, backbone, data_sha256 })
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
}
