//! The objective of a trained adapter.

use super::objective::{Batch, Objective};
use crate::fit::{Data, Part};
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use moa_core::model::{AdapterFolder, Build};
use moa_infer::prefetch::{Prefetch, workers};
use moa_infer::spec::open_backbone;
use std::path::{Path, PathBuf};

/// What the loss is computed from.
pub struct Setting<'a> {
    /// The adapter.
    pub adapter: &'a Path,
    /// In place of the backbone that it names.
    pub backbone: Option<&'a str>,
    /// The dataset.
    pub data: &'a Data,
    /// Images, as many of each training environment.
    pub images: usize,
    /// Images per forward pass.
    pub batch: usize,
    /// Where to compute.
    pub device: &'a Device,
    /// `f64` where second derivatives come from differences of first ones.
    pub dtype: DType,
}

impl Setting<'_> {
    /// The mean cross-entropy of the first images of the parts that were trained on, as they are
    /// evaluated: without augmentation.
    ///
    /// # Errors
    /// If the adapter or an image cannot be read.
    pub fn objective(&self) -> Result<Objective> {
        let AdapterFolder { card, tensors } = AdapterFolder::read(self.adapter)?;
        let backbone = open_backbone(self.backbone.unwrap_or(&card.backbone.spec))?;
        let build = Build {
            backbone: &backbone,
            method: &card.method,
            image_size: card.backbone.vit.image_size,
            dtype: self.dtype,
            device: self.device,
        };
        let model = build.adapted(&tensors, 0.0, true)?;
        let envs = self.data.train_envs().count().max(1);
        let each = self.images.div_ceil(envs);
        let samples: Vec<_> =
            self.data.train_envs().flat_map(|env| self.data.samples(env, Part::In, each)).collect();
        let preprocess = card.preprocess.clone();
        let read = move |(path, class): (PathBuf, usize)| {
            moa_core::image::decode_file(&path)
                .map(|image| (preprocess.apply(&image), class as u32))
        };
        let images = Prefetch::new(samples.into_iter(), workers(0), self.batch, read);
        let images: Result<Vec<_>, _> = images.collect();
        let images = images.context("an image cannot be read")?;
        let (height, width) = card.backbone.vit.image_size;
        let batch = |images: &[(Vec<f32>, u32)]| -> Result<Batch> {
            let pixels: Vec<f32> = images.iter().flat_map(|(pixels, _)| pixels.clone()).collect();
            let input = Tensor::from_vec(pixels, (images.len(), 3, height, width), self.device)?;
            Ok((input.to_dtype(self.dtype)?, images.iter().map(|(_, class)| *class).collect()))
        };
        let batches = images.chunks(self.batch.max(1)).map(batch).collect::<Result<Vec<_>>>()?;
        Objective::new(model, batches)
    }
}
