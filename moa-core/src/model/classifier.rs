//! Backbone + adapters + head.

use super::head::{Head, HeadInput};
use crate::adapter::Init;
use crate::backbone::{Backbone, HeadKind, VitConfig};
use crate::error::{Error, Result};
use crate::method::Method;
use crate::param::Store;
use crate::pass::Pass;
use crate::peft::Folded;
use crate::vit::Vit;
use candle_core::{DType, Device, Tensor, Var};
use std::collections::{BTreeMap, BTreeSet};

/// A vision transformer with a head, adapted or not.
#[derive(Clone, Debug)]
pub struct Classifier {
    /// The transformer; its `config` has the image size in use.
    pub vit: Vit,
    /// The head, if there is one.
    pub head: Option<Head>,
    /// The method it was built for.
    pub method: Method,
    trainable: BTreeMap<String, Var>,
}

/// Seeded initial values of everything that `method` adds to a backbone: adapter
/// tensors, and a head of `classes` outputs uniform in `1 / sqrt(dim)` (PyTorch
/// `nn.Linear`). Values depend on seed and name alone.
///
/// # Errors
/// Only if memory runs out.
pub fn initial(
    method: &Method,
    config: &VitConfig,
    classes: usize,
    seed: u64,
) -> Result<BTreeMap<String, Tensor>> {
    let mut specs = method.trainable(config);
    specs.retain(|_, (_, init)| *init != Init::Pretrained);
    let bound = Init::Uniform(1.0 / (config.dim as f64).sqrt());
    specs.insert("head.weight".into(), (vec![classes, config.dim], bound.clone()));
    specs.insert("head.bias".into(), (vec![classes], bound));
    let draw = |(name, (shape, init)): (String, (Vec<usize>, Init))| {
        let tensor = init.draw(&name, &shape, seed)?.to_dtype(DType::F32)?;
        Ok((name, tensor))
    };
    specs.into_iter().map(draw).collect()
}

/// How to build a [`Classifier`].
pub struct Build<'a> {
    /// The pretrained weights.
    pub backbone: &'a Backbone,
    /// What was, or will be, trained.
    pub method: &'a Method,
    /// Height and width of the images.
    pub image_size: (usize, usize),
    /// Type to compute in.
    pub dtype: DType,
    /// Where to compute.
    pub device: &'a Device,
}

impl Build<'_> {
    /// A classifier from the backbone and `tensors`, which hold exactly the
    /// method's tensors and the head. They become variables if `train`.
    ///
    /// # Errors
    /// If the method does not fit the backbone, or a tensor is missing, extra,
    /// misshapen or not finite.
    pub fn adapted(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        head_dropout: f64,
        train: bool,
    ) -> Result<Classifier> {
        let config = self.config();
        self.method.check(&config)?;
        let mut names: BTreeSet<String> = self.method.trainable(&config).into_keys().collect();
        names.extend(["head.weight".to_string(), "head.bias".to_string()]);
        if let Some(extra) = tensors.keys().find(|name| !names.contains(*name)) {
            let near = crate::suggest::nearest(extra, names.iter()).map(String::from);
            return Err(Error::Extra { name: extra.clone(), near });
        }
        let mut all = self.body(&config)?;
        for (name, tensor) in tensors {
            all.insert(name.clone(), tensor.clone());
        }
        // A file that lacks a tensor must not fall back to the backbone's.
        if !train && let Some(name) = names.iter().find(|name| !tensors.contains_key(*name)) {
            return Err(Error::missing(name, tensors));
        }
        let weight =
            tensors.get("head.weight").ok_or_else(|| Error::missing("head.weight", tensors))?;
        let classes = weight.dims().first().copied().unwrap_or(0);
        let trainable = if train { names } else { BTreeSet::new() };
        let mut store = Store::new(all, trainable, self.dtype, self.device);
        let mut vit = Vit::new(&mut store, &config, self.method)?;
        let sizes = (classes, config.dim);
        let head = Head::new(&mut store, sizes, HeadInput::Pooled, head_dropout)?;
        let (method, trainable) = (self.method.clone(), store.finish()?);
        if !train {
            vit.set_in_panels()?; // now that nothing else holds the weights
        }
        Ok(Classifier { vit, head: Some(head), method, trainable })
    }

    /// The backbone alone, with its own head if it has one.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn plain(&self) -> Result<Classifier> {
        self.folded(&Folded::default())
    }

    /// The backbone with the tensors that a foreign adapter changes, and its head if it
    /// brings one.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn folded(&self, folded: &Folded) -> Result<Classifier> {
        let config = self.config();
        let mut all = self.body(&config)?;
        for (name, raw) in &folded.changed {
            let tensor = Tensor::from_slice(&raw.data, raw.shape.as_slice(), &Device::Cpu)?;
            all.insert(name.clone(), tensor);
        }
        let mut head = None;
        if let Some(kind) = folded.head.or(config.head) {
            for name in ["head.weight", "head.bias"] {
                if folded.head.is_none() && !all.contains_key(name) {
                    all.insert(name.into(), read(self.backbone, name)?);
                }
            }
            let weight = all.get("head.weight").ok_or_else(|| Error::missing("head.weight", &all));
            let classes = weight?.dim(0)?;
            let input = match kind {
                HeadKind::Pooled => HeadInput::Pooled,
                HeadKind::ClsAndPatchMean => HeadInput::ClsAndPatchMean,
            };
            head = Some((classes, input));
        }
        let mut store = Store::new(all, BTreeSet::new(), self.dtype, self.device);
        let method = Method::linear_probe();
        let mut vit = Vit::new(&mut store, &config, &method)?;
        let head = head
            .map(|(classes, input)| Head::new(&mut store, (classes, config.dim), input, 0.0))
            .transpose()?;
        store.finish()?;
        vit.set_in_panels()?;
        Ok(Classifier { vit, head, method, trainable: BTreeMap::new() })
    }

    fn config(&self) -> VitConfig {
        VitConfig { image_size: self.image_size, ..self.backbone.config.clone() }
    }

    /// The backbone's tensors without head and projection, the position table
    /// resampled to the image size.
    fn body(&self, config: &VitConfig) -> Result<BTreeMap<String, Tensor>> {
        let mut all = BTreeMap::new();
        for (name, shape) in config.tensors() {
            let tensor = match name == "pos_embed" {
                true => {
                    let raw = self.backbone.pos_embed(config.grid())?;
                    Tensor::from_vec(raw, shape, &Device::Cpu)?
                }
                false => read(self.backbone, &name)?,
            };
            all.insert(name, tensor);
        }
        Ok(all)
    }
}

fn read(backbone: &Backbone, name: &str) -> Result<Tensor> {
    let raw = backbone.read(name)?;
    Ok(Tensor::from_vec(raw.data, raw.shape, &Device::Cpu)?)
}

impl Classifier {
    /// The pooled feature, `[b, dim]`.
    ///
    /// # Errors
    /// If the images do not have the model's size.
    pub fn features(&self, images: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        self.vit.forward(images, pass)
    }

    /// Logits `[b, classes]`; `None` if there is no head.
    ///
    /// # Errors
    /// If the images do not have the model's size.
    pub fn logits(&self, images: &Tensor, pass: &Pass<'_>) -> Result<Option<Tensor>> {
        let Some(head) = &self.head else { return Ok(None) };
        let feature = match head.input {
            HeadInput::Pooled => self.vit.forward(images, pass)?,
            HeadInput::ClsAndPatchMean => {
                let stages = self.vit.stages(images, pass)?;
                Tensor::cat(&[&stages.pooled, &self.vit.patch_mean(&stages.tokens)?], 1)?
            }
        };
        Ok(Some(head.forward(&feature, pass)?))
    }

    /// [`Classifier::logits`] from what [`Vit::below`] gave for `block`; `None` too if the
    /// head reads more than the pooled feature.
    ///
    /// # Errors
    /// If `x` has another width.
    pub fn logits_above(
        &self,
        x: &Tensor,
        block: usize,
        pass: &Pass<'_>,
    ) -> Result<Option<Tensor>> {
        let Some(head) = self.head.as_ref().filter(|head| head.input == HeadInput::Pooled) else {
            return Ok(None);
        };
        Ok(Some(head.forward(&self.vit.above(x, block, pass)?, pass)?))
    }

    /// The trainable tensors by name, the head included.
    pub fn trainable(&self) -> &BTreeMap<String, Var> {
        &self.trainable
    }

    /// How many numbers train besides the head.
    pub fn trainable_parameters(&self) -> usize {
        let body = self.trainable.iter().filter(|(name, _)| !name.starts_with("head."));
        body.map(|(_, var)| var.elem_count()).sum()
    }
}
