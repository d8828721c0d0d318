//! MIRO: holds features near those of the pretrained network while they are trained (Cha et al.
//! 2022; `kakaobrain/miro`). It is a term of the loss, nothing of it is in the adapter.

use crate::config::OptimConfig;
use crate::optim::{Adam, Gradients};
use anyhow::{Context, Result};
use candle_core::{Device, Tensor, Var};
use moa_core::model::Classifier;
use moa_core::pass::Pass;
use moa_core::vit::{Tapped, Vit};
use moa_infer::exit::usage;
use moa_kernels::miro::{initial_scale, penalty};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// `[miro]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MiroConfig {
    /// Factor of the penalty; 0 for none.
    pub weight: f64,
    /// Learning rate of the variances, in learning rates of the model.
    pub lr_mult: f64,
}

/// The pretrained network, and how far from it each channel may be.
pub struct Miro {
    weight: f64,
    lr_mult: f64,
    reference: Vit,
    stem: bool,
    blocks: BTreeSet<usize>,
    /// Of the stem, if its features move, and of the blocks, in order.
    names: Vec<String>,
    /// A variance per channel, by these names.
    scales: BTreeMap<String, Var>,
    adam: Adam,
}

impl Miro {
    /// For a model that has its initial values; `None` if it is off.
    ///
    /// # Errors
    /// If the method trains nothing but the head.
    pub fn new(
        config: &MiroConfig,
        optim: &OptimConfig,
        model: &Classifier,
    ) -> Result<Option<Self>> {
        if config.weight == 0.0 {
            return Ok(None);
        }
        let vit = &model.vit;
        let depth = vit.config.depth;
        // The last block of each quarter, as `miro` does with 12. What nothing trained comes
        // before is where it was, and is left out.
        let first = model.method.first_trained(depth);
        let quarters = (1..=4).map(|quarter| (depth * quarter).div_ceil(4) - 1);
        let blocks: BTreeSet<usize> = quarters.filter(|&block| block >= first).collect();
        let stem = model.trainable().keys().any(|name| name.starts_with("patch_embed."));
        if blocks.is_empty() {
            let name = &model.method.name;
            return Err(usage(format!("miro.weight: {name} moves no feature; set it to 0")));
        }
        let stem_name = stem.then(|| "miro.patch_embed".to_string());
        let block_names = blocks.iter().map(|block| format!("miro.blocks.{block}"));
        let names: Vec<_> = stem_name.into_iter().chain(block_names).collect();
        let like = model.trainable().values().next().context("nothing trains")?;
        let start = Tensor::full(initial_scale(), vit.config.dim, &Device::Cpu)?;
        let start = start.to_dtype(like.dtype())?.to_device(like.device())?;
        let scale = |name: &String| Ok((name.clone(), Var::from_tensor(&start)?));
        let scales = names.iter().map(scale).collect::<Result<BTreeMap<_, _>>>()?;
        Ok(Some(Self {
            weight: config.weight,
            lr_mult: config.lr_mult,
            reference: vit.pretrained()?,
            stem,
            blocks,
            names,
            adam: Adam::new(optim, &scales)?,
            scales,
        }))
    }

    /// Features of the pretrained network.
    ///
    /// # Errors
    /// If the images are not of the model's size.
    pub fn targets(&self, images: &Tensor) -> Result<Tapped> {
        Ok(self.reference.tapped(images, self.stem, &self.blocks, &Pass::eval())?)
    }

    /// Logits, and the weighted penalty as a scalar.
    ///
    /// # Errors
    /// If the images are not of the model's size.
    pub fn logits(
        &self,
        model: &Classifier,
        images: &Tensor,
        targets: Tapped,
        pass: &Pass<'_>,
    ) -> Result<(Tensor, Tensor)> {
        let tapped = model.vit.tapped(images, self.stem, &self.blocks, pass)?;
        let head = model.head.as_ref().context("the model has no head")?;
        let places = |tapped: Tapped| tapped.patches.into_iter().chain(tapped.blocks);
        let (pooled, targets) = (tapped.pooled.clone(), places(targets));
        let mut sum: Option<Tensor> = None;
        for ((x, target), name) in places(tapped).zip(targets).zip(&self.names) {
            let own = penalty(&x, &target, self.scales[name].as_tensor())?;
            sum = Some(match sum {
                Some(sum) => (sum + own)?,
                None => own,
            });
        }
        let sum = sum.context("MIRO: no features")?;
        Ok((head.forward(&pooled, pass)?, (sum * self.weight)?))
    }

    /// What trains besides the model, by name.
    pub fn scales(&self) -> &BTreeMap<String, Var> {
        &self.scales
    }

    /// Numbers that a step keeps of each token: targets, and what leaves the tapped blocks.
    pub fn kept_per_token(&self) -> usize {
        2 * self.scales.len() * self.reference.config.dim
    }

    /// One update, at a multiple of the model's learning rate.
    ///
    /// # Errors
    /// If a gradient is missing.
    pub fn step(&mut self, gradients: &Gradients, lr: f64) -> Result<()> {
        self.adam.step(&self.scales, gradients, lr * self.lr_mult)
    }

    /// For a checkpoint.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let own = self.scales.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor()));
        own.chain(self.adam.tensors()).collect()
    }

    /// From a checkpoint.
    ///
    /// # Errors
    /// If a tensor is missing, extra or misshapen.
    pub fn restore(&mut self, mut tensors: BTreeMap<String, Tensor>, steps: u64) -> Result<()> {
        for (name, var) in &self.scales {
            let found = tensors.remove(name).with_context(|| format!("`{name}` is missing"))?;
            var.set(&found.to_device(var.device())?)?;
        }
        self.adam.restore(tensors, steps)
    }
}
