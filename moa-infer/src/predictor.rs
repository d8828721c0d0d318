//! A classifier ready for images.

use crate::foreign::Foreign;
use crate::labels;
use crate::spec::{self, is_adapter, is_peft, local, open_backbone};
use crate::zero_shot::zero_shot;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use moa_core::backbone::{Backbone, VitConfig};
use moa_core::clip::ZeroShot;
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
    /// Takes the place of the head.
    zero_shot: Option<ZeroShot>,
    /// What the model was opened from; none if its text side is not the model's.
    backbone: Option<Backbone>,
    device: Device,
}

impl Predictor {
    /// Opens an adapter folder, ours or of PEFT, or a backbone folder with a head of its
    /// own; one that is not here may be a repository of the Hub ([`local`]). `backbone` overrides where an adapter's backbone is looked for; its hash
    /// must be the one that an adapter of ours was trained on.
    ///
    /// # Errors
    /// If something is missing, damaged, or made for something else.
    pub fn open(path: &Path, backbone: Option<&str>, device: &Device) -> Result<Self> {
        let path = &local(path)?;
        if is_peft(path) {
            let Foreign { backbone, folded, .. } = Foreign::open(path, backbone)?;
            let mut predictor = Self::folded(backbone, &folded, device)?;
            let names = path.join(labels::LABELS_FILE);
            if predictor.classes.is_none() && names.is_file() {
                predictor.classes = Some(labels::read(&names, predictor.outputs()?)?);
            }
            return Ok(predictor);
        }
        if !is_adapter(path) {
            let spec = path.to_string_lossy();
            if !path.exists() && spec != spec::TINY {
                let hint = spec::below_a_folder(path).unwrap_or_default();
                anyhow::bail!(
                    "{spec}: no such adapter folder, backbone folder or backbone name{hint}"
                );
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
        let path = &local(path)?;
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
            zero_shot: None,
            backbone: Some(backbone.clone()),
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
        let projection = folded.changed.contains_key("projection.weight");
        let plain = folded.outside == 0 && !projection;
        // A head of another size has other classes.
        let same = folded.head.is_none() || folded.classes() == backbone.classes;
        Ok(Self {
            classifier: build.folded(folded)?,
            preprocess: backbone.preprocess.clone(),
            classes: backbone.class_names.clone().filter(|_| same),
            card: None,
            zero_shot: None,
            backbone: plain.then_some(backbone),
            device: device.clone(),
        })
    }

    /// Classifies by the names of classes from now on, with the text tower of the
    /// backbone and the tokenizer in its folder or in `tokenizer`.
    ///
    /// # Errors
    /// If there is no text tower or no tokenizer.
    pub fn classify_by_names(
        &mut self,
        classes: &[String],
        templates: &[String],
        tokenizer: Option<&Path>,
    ) -> Result<()> {
        let backbone = self.backbone.as_ref();
        let backbone =
            backbone.context("the adapter changes CLIP's text side, which is not read")?;
        let zero_shot = zero_shot(backbone, classes, templates, tokenizer, &self.device)?;
        (self.zero_shot, self.classes) = (Some(zero_shot), Some(classes.to_vec()));
        Ok(())
    }

    /// Outputs of the classifier.
    ///
    /// # Errors
    /// If the model has none.
    pub fn outputs(&self) -> Result<usize> {
        if let Some(zero_shot) = &self.zero_shot {
            return Ok(zero_shot.classes());
        }
        let head = self.classifier.head.as_ref();
        Ok(head.context(NO_HEAD)?.tensors().1.dim(0)?)
    }

    /// Wraps a model that is being trained.
    pub fn of(classifier: Classifier, preprocess: Preprocess, device: &Device) -> Self {
        let device = device.clone();
        Self {
            classifier,
            preprocess,
            classes: None,
            card: None,
            zero_shot: None,
            backbone: None,
            device,
        }
    }

    /// Images as input, `[b, 3, h, w]`.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn input(&self, images: &[Vec<f32>]) -> Result<Tensor> {
        let shape = (images.len(), 3, self.preprocess.height, self.preprocess.width);
        Ok(Tensor::from_vec(images.concat(), shape, &self.device)?)
    }

    /// Logits of all classes, one row per image.
    ///
    /// # Errors
    /// If the model has no head.
    pub fn logits(&self, images: &[Vec<f32>]) -> Result<Vec<Vec<f32>>> {
        let (images, pass) = (self.input(images)?, Pass::eval());
        if let Some(zero_shot) = &self.zero_shot {
            return rows(zero_shot.logits(&self.classifier.features(&images, &pass)?)?);
        }
        rows(self.classifier.logits(&images, &pass)?.context(NO_HEAD)?)
    }

    /// The temperature by which logits are to be divided.
    ///
    /// # Errors
    /// If the adapter has none.
    pub fn temperature(&self) -> Result<f64> {
        let card = self.card.as_ref().filter(|_| self.zero_shot.is_none());
        card.and_then(|card| card.temperature).context(
            "no temperature is known for this model: --calibrated needs an adapter that \
             `moa-train fit` has written",
        )
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

    /// [`Predictor::logits`] of the images that [`Predictor::below`] got for the same
    /// block: the same bits.
    ///
    /// # Errors
    /// If the model has no head on its pooled feature.
    pub fn logits_above(&self, x: &Tensor, block: usize) -> Result<Vec<Vec<f32>>> {
        let x = x.to_device(&self.device)?;
        let logits = self.classifier.logits_above(&x, block, &Pass::eval())?;
        rows(logits.context("this model has no head on its pooled feature")?)
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

const NO_HEAD: &str = "this backbone has no classification head; give an adapter, or the names of \
                       classes with --zero-shot";

fn rows(logits: Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(logits.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.to_vec2()?)
}
