//! A small vision transformer with random weights, and its training steps.

use candle_core::{DType, Device, Tensor};
use moa_core::adapter::Init;
use moa_core::backbone::{Backbone, VitConfig, registry};
use moa_core::model::{Build, Classifier, initial};
use moa_core::pass::{Pass, Seeded};
use moa_train::config::Config;
use moa_train::config::layers::Layers;
use moa_train::fit::step_losses;
use moa_train::optim::{Adam, Gradients};
use moa_train::random_backbone::write_random;
use serde_json::json;
use std::path::Path;

const CLASSES: usize = 7;

/// Of model and input.
#[derive(Clone, Copy)]
pub struct Size {
    /// Side of the images.
    pub image: usize,
    /// Side of a patch.
    pub patch: usize,
    /// Width of the tokens.
    pub dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Images of a step.
    pub batch: usize,
}

/// A model with its optimiser, and one batch that it sees again and again.
pub struct Trainer {
    model: Classifier,
    adam: Adam,
    config: Config,
    images: Tensor,
    labels: Vec<u32>,
    step: u32,
}

impl Trainer {
    /// `set` are `key=value` of the configuration.
    pub fn new(size: Size, set: &[&str]) -> Self {
        let config = config(set);
        let folder = tempfile::tempdir().unwrap();
        let backbone = backbone(folder.path(), size);
        let build = Build {
            backbone: &backbone,
            method: &config.method,
            image_size: (size.image, size.image),
            dtype: DType::F32,
            device: &Device::Cpu,
        };
        let tensors = initial(&config.method, &backbone.config, CLASSES, 0).unwrap();
        let model = build.adapted(&tensors, 0.0, true).unwrap();
        let shape = [size.batch, 3, size.image, size.image];
        let images = Init::Normal(1.0).draw("images", &shape, 0).unwrap();
        let images = images.to_dtype(DType::F32).unwrap();
        let labels = (0..size.batch).map(|i| (i % CLASSES) as u32).collect();
        let adam = Adam::new(&config.optim, model.trainable()).unwrap();
        Self { model, adam, config, images, labels, step: 0 }
    }

    /// Trains on the batch once more.
    pub fn step(&mut self) {
        let random = Seeded { seed: 0, step: self.step };
        let pass = Pass::train(&random).recomputing(self.config.train.checkpoint_activations);
        let mut gradients = Gradients::new();
        step_losses(&self.model, &self.images, &self.labels, pass, None, 1.0, &mut gradients)
            .unwrap();
        self.adam.step(self.model.trainable(), &gradients, self.config.optim.lr).unwrap();
        self.step += 1;
    }
}

fn config(set: &[&str]) -> Config {
    let mut layers = Layers::default();
    for key in ["backbone.spec", "data.root", "data.test_env"] {
        layers.set(key, "none", "test").unwrap();
    }
    set.iter().for_each(|text| layers.set_text(text).unwrap());
    layers.resolve().unwrap().0
}

fn backbone(folder: &Path, size: Size) -> Backbone {
    let Size { image, patch, dim, depth, .. } = size;
    let heads = dim.div_ceil(64).max(2);
    let vit = VitConfig {
        image_size: (image, image),
        patch_size: patch,
        dim,
        depth,
        heads,
        mlp_hidden: 4 * dim,
        ..registry::find("vit-tiny-16-augreg").unwrap().vit
    };
    let config = json!({
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 0,
        "num_features": dim,
        "global_pool": "token",
        "model_args": {
            "img_size": image, "patch_size": patch, "embed_dim": dim, "depth": depth,
            "num_heads": heads, "num_classes": 0
        },
        "pretrained_cfg": {
            "input_size": [3, image, image], "interpolation": "bilinear", "crop_pct": 1.0,
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "num_classes": 0
        }
    });
    write_random(folder, &config, &vit, 0).unwrap();
    Backbone::open(folder).unwrap()
}
