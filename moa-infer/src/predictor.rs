//! A classifier ready for images.

use crate::foreign::Foreign;
use crate::spec::{self, is_adapter, is_peft, open_backbone};
use anyhow::{Context, Result};
use candle_core::{D, DType, Device, Tensor};
use moa_core::backbone::{Backbone, VitConfig};
use moa_core::image::{Preprocess, Rgb};
use moa_core::model::{AdapterFolder, Build, Card, Classifier};
use moa_core::pass::Pass;
use moa_core::peft::Folded;
use std::path::Path;

/// Backbone, adapter, transform and class names.
pub struct Predictor {
    /// The model.
    pub classifier: Classifier,
    /// How images become input.
    pub preprocess: Preprocess,
    /// Class names, if known.
    pub classes: Option<Vec<String>>,
    /// The adapter's description; none for a plain backbone.
    pub card: Option<Card>,
    device: Device,
}

impl Predictor {
    /// Opens an adapter folder, ours or of PEFT, or a backbone folder with a head of its
    /// own. `backbone` overrides where an adapter's backbone is looked for; its hash
    /// must be the one that an adapter of ours was trained on.
    ///
    /// # Errors
    /// If something is missing, damaged, or made for something else.
    pub fn open(path: &Path, backbone: Option<&str>, device: &Device) -> Result<Self> {
        if is_peft(path) {
            let Foreign { backbone, folded, .. } = Foreign::open(path, backbone)?;
            return Self::folded(backbone, &folded, device);
        }
        if !is_adapter(path) {
            let spec = path.to_string_lossy();
            if !path.exists() && !spec::is_known(&spec) {
                anyhow::bail!("{spec}: no such adapter folder, backbone folder or backbone name");
            }
            return Self::plain(open_backbone(&spec)?, device);
        }
        Ok(Self::with_parts(path, backbone, device)?.0)
    }

    /// Opens an adapter folder and keeps what it is made of: its files and its backbone.
    ///
    /// # Errors
    /// As [`Predictor::open`].
    pub fn with_parts(
        path: &Path,
        backbone: Option<&str>,
        device: &Device,
    ) -> Result<(Self, AdapterFolder, Backbone)> {
        let folder = AdapterFolder::read(path).map_err(|e| spec::located(path, e))?;
        let spec = backbone.unwrap_or(&folder.card.backbone.spec).to_string();
        let weights = open_backbone(&spec).with_context(|| {
            let hint = if backbone.is_none() { "; `--backbone` names another place" } else { "" };
            format!("{}: its backbone `{spec}` cannot be opened{hint}", path.display())
        })?;
        let predictor = Self::adapted(folder.clone(), &weights, device)
            .with_context(|| format!("{}: not made for backbone `{spec}`", path.display()))?;
        Ok((predictor, folder, weights))
    }

    /// An adapter on its backbone.
    ///
    /// # Errors
    /// If the backbone is another one than the adapter was trained on.
    pub fn adapted(folder: AdapterFolder, backbone: &Backbone, device: &Device) -> Result<Self> {
        let card = folder.card;
        let found = backbone.sha256()?;
        anyhow::ensure!(
            found == card.backbone.sha256,
            "its weights have sha256 {found:.12}..., the adapter needs {:.12}...; `--backbone` \
             names the right ones",
            card.backbone.sha256
        );
        let image_size = card.backbone.vit.image_size;
        let vit = VitConfig { image_size, ..backbone.config.clone() };
        anyhow::ensure!(
            vit == card.backbone.vit,
            "moa.json describes another architecture than the backbone's config; copy it again"
        );
        let build = Build { backbone, method: &card.method, image_size, dtype: DType::F32, device };
        let classifier = build.adapted(&folder.tensors, 0.0, false)?;
        Ok(Self {
            classifier,
            preprocess: card.preprocess.clone(),
            classes: Some(card.classes.clone()),
            card: Some(card),
            device: device.clone(),
        })
    }

    /// A backbone alone.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn plain(backbone: Backbone, device: &Device) -> Result<Self> {
        Self::folded(backbone, &Folded::default(), device)
    }

    /// A backbone with what a foreign adapter changes.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn folded(backbone: Backbone, folded: &Folded, device: &Device) -> Result<Self> {
        let method = moa_core::method::Method::linear_probe();
        let image_size = (backbone.preprocess.height, backbone.preprocess.width);
        let build =
            Build { backbone: &backbone, method: &method, image_size, dtype: DType::F32, device };
        // A head of another size has other classes.
        let same = folded.head.is_none() || folded.classes() == backbone.classes;
        Ok(Self {
            classifier: build.folded(folded)?,
            preprocess: backbone.preprocess.clone(),
            classes: backbone.class_names.clone().filter(|_| same),
            card: None,
            device: device.clone(),
        })
    }

    /// Wraps a model that is being trained.
    pub fn of(classifier: Classifier, preprocess: Preprocess, device: &Device) -> Self {
        Self { classifier, preprocess, classes: None, card: None, device: device.clone() }
    }

    /// Images as input, `[b, 3, h, w]`.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn input(&self, images: &[Vec<f32>]) -> Result<Tensor> {
        let shape = (images.len(), 3, self.preprocess.height, self.preprocess.width);
        Ok(Tensor::from_vec(images.concat(), shape, &self.device)?)
    }

    /// Probabilities of all classes, one row per image.
    ///
    /// # Errors
    /// If the model has no head.
    pub fn probabilities(&self, images: &[Vec<f32>]) -> Result<Vec<Vec<f32>>> {
        let logits = self.classifier.logits(&self.input(images)?, &Pass::eval())?;
        softmax(logits.context("this backbone has no classification head; give an adapter")?)
    }

    /// What enters block `block`, or the pooled features if there is no such block
    /// (`Vit::below`), on the CPU.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn below(&self, images: &[Vec<f32>], block: usize) -> Result<Tensor> {
        let x = self.classifier.vit.below(&self.input(images)?, block, &Pass::eval())?;
        Ok(x.to_device(&Device::Cpu)?)
    }

    /// [`Predictor::probabilities`] of the images that [`Predictor::below`] got for the same
    /// block: the same bits.
    ///
    /// # Errors
    /// If the model has no head on its pooled feature.
    pub fn probabilities_above(&self, x: &Tensor, block: usize) -> Result<Vec<Vec<f32>>> {
        let x = x.to_device(&self.device)?;
        let logits = self.classifier.logits_above(&x, block, &Pass::eval())?;
        softmax(logits.context("this model has no head on its pooled feature")?)
    }

    /// Pooled features, one row per image.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn features(&self, images: &[Vec<f32>]) -> Result<Vec<Vec<f32>>> {
        let features = self.classifier.features(&self.input(images)?, &Pass::eval())?;
        Ok(features.to_device(&Device::Cpu)?.to_vec2()?)
    }

    /// The transform of one image.
    pub fn transform(&self, image: &Rgb) -> Vec<f32> {
        self.preprocess.apply(image)
    }
}

/// Few numbers: in f64, so that probabilities sum to 1.
fn softmax(logits: Tensor) -> Result<Vec<Vec<f32>>> {
    let logits = logits.to_dtype(DType::F64)?.to_device(&Device::Cpu)?;
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?.exp()?;
    let probs = shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)?;
    Ok(probs.to_dtype(DType::F32)?.to_vec2()?)
}
