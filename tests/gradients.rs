//! Whole-model gradients in f64 against central differences, for every method
//! and through every block.
//!
//! A layer norm or softmax that cuts the graph leaves gradients that are wrong
//! but not zero, because the residual stream goes around it; only this notices.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use moa_core::adapter::{AuxThreshold, Init};
use moa_core::backbone::Backbone;
use moa_core::method::{Blocks, LinearName, Method, names, preset};
use moa_core::model::{Build, Classifier, initial};
use moa_core::pass::{Pass, Seeded};
use moa_kernels::cross_entropy::cross_entropy;
use moa_kernels::rng::{Key, Purpose};
use moa_train::config::{OptimConfig, OptimKind, ScheduleKind};
use moa_train::fit::step_losses;
use moa_train::miro::{Miro, MiroConfig};
use moa_train::optim::Gradients;
use std::collections::BTreeMap;
use std::path::Path;

const CLASSES: usize = 3;
const IMAGES: usize = 4;
const STEP: f64 = 1e-5;

/// Small backbones of every kind of block: plain, CLIP, layer scale and
/// registers, SwiGLU-free average pooling.
const BACKBONES: &[&str] =
    &["timm_plain", "timm_clip_quickgelu", "timm_dinov2_reg", "timm_avgpool"];

struct Case {
    model: Classifier,
    images: Tensor,
    labels: Vec<u32>,
    random: Seeded,
    miro: Option<Miro>,
}

impl Case {
    fn new(backbone: &str, mut method: Method) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/backbones");
        let backbone = Backbone::open(&dir.join(backbone)).unwrap();
        // Sizes that fit a width of 32 or 48, and a router that all tokens do not agree on.
        if let Some(adapter) = &mut method.adapter {
            adapter.t = 8;
        }
        if let Some(router) = &mut method.router {
            router.dim = 12;
            router.noise = 4.0;
            router.aux_weight = 0.1;
            router.aux_threshold = AuxThreshold::Kth;
        }
        let image_size = backbone.config.image_size;
        let mut tensors = initial(&method, &backbone.config, CLASSES, 3).unwrap();
        for (name, tensor) in &mut tensors {
            // What starts at zero (or nearly) is filled, so that nothing is dead.
            let small = name.ends_with(".up")
                || name.ends_with("adapter_bias")
                || name.starts_with("shared.")
                || name.ends_with("router.sim");
            if small {
                // Compacter multiplies with its rule twice: with more, third derivatives would
                // be what differences show.
                let std = if name == "shared.rule" { 0.05 } else { 0.5 };
                let noise = Init::Normal(std).draw(name, tensor.dims(), 7).unwrap();
                *tensor = noise.to_dtype(DType::F32).unwrap();
            }
        }
        let device = &Device::Cpu;
        let build =
            Build { backbone: &backbone, method: &method, image_size, dtype: DType::F64, device };
        let model = build.adapted(&tensors, 0.1, true).unwrap();
        let (h, w) = image_size;
        let mut draws = Key::new(9, Purpose::Init, 0).draws(1);
        let pixels: Vec<f64> = (0..IMAGES * 3 * h * w).map(|_| draws.normal()).collect();
        let images = Tensor::from_vec(pixels, (IMAGES, 3, h, w), device).unwrap();
        let labels = (0..IMAGES).map(|i| (i % CLASSES) as u32).collect();
        Self { model, images, labels, random: Seeded { seed: 5, step: 2 }, miro: None }
    }

    /// Held near what it is now by MIRO, and then moved from there.
    fn held(mut self) -> Self {
        let optim = OptimConfig {
            kind: OptimKind::Adam,
            lr: 1e-3,
            weight_decay: 0.0,
            schedule: ScheduleKind::Constant,
            warmup: 0,
        };
        let config = MiroConfig { weight: 0.5, lr_mult: 10.0 };
        self.miro = Miro::new(&config, &optim, &self.model).unwrap();
        for (name, var) in self.vars() {
            let noise = Init::Normal(0.05).draw(name, var.dims(), 8).unwrap();
            var.set(&(var.as_tensor() + noise.to_dtype(DType::F64).unwrap()).unwrap()).unwrap();
        }
        self
    }

    /// All that trains.
    fn vars(&self) -> impl Iterator<Item = (&String, &Var)> {
        self.model.trainable().iter().chain(self.miro.iter().flat_map(Miro::scales))
    }

    fn loss(&self) -> f64 {
        let pass = Pass::train(&self.random);
        let logits = self.model.logits(&self.images, &pass).unwrap().unwrap();
        let ce = cross_entropy(&logits, &self.labels).unwrap();
        let balance = pass.balance().unwrap();
        let penalty = self.miro.as_ref().map(|miro| {
            let (images, targets) = (&self.images, miro.targets(&self.images).unwrap());
            miro.logits(&self.model, images, targets, &Pass::train(&self.random)).unwrap().1
        });
        let scalar = |t: Tensor| t.to_scalar::<f64>().unwrap();
        [Some(ce), balance, penalty].into_iter().flatten().map(scalar).sum()
    }

    /// Which expert each token goes to: differences across a change of it mean nothing.
    fn choices(&self) -> Vec<Vec<u32>> {
        let pass = Pass::train(&self.random).watching();
        self.model.logits(&self.images, &pass).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1().unwrap();
        pass.routings().iter().map(|(_, r)| flat(&r.indices)).collect()
    }

    fn check(&self, label: &str) {
        let step = |recomputing: bool| {
            let mut gradients = Gradients::new();
            let pass = Pass::train(&self.random).recomputing(recomputing);
            let (images, labels, miro) = (&self.images, &self.labels, self.miro.as_ref());
            let losses = step_losses(&self.model, images, labels, pass, miro, 1.0, &mut gradients);
            let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let gradients = gradients.iter().map(|(name, t)| (name.clone(), values(t)));
            (losses.unwrap(), gradients.collect::<BTreeMap<String, Vec<f64>>>())
        };
        let (losses, gradients) = step(false);
        assert_eq!(gradients, step(true).1, "{label}: with activations computed again");
        assert!((losses.total() - self.loss()).abs() < 1e-12, "{label}: the loss differs");
        for (layer, counts) in &losses.usage {
            assert!(counts.iter().all(|&n| n > 0), "{label}: an expert of {layer} got no token");
        }
        let mut draws = Key::new(1, Purpose::Init, 0).draws(2);
        for (name, var) in self.vars() {
            let gradient = &gradients[name];
            let size = gradient.iter().fold(0f64, |m, v| m.max(v.abs()));
            assert!(size.is_finite() && size > 0.0, "{label}: {name} has a gradient of {size}");
            for _ in 0..3 {
                let i = draws.below(gradient.len() as u32) as usize;
                if let Some(wanted) = self.difference(var, i) {
                    let gap = (gradient[i] - wanted).abs();
                    let allowed = 1e-6 * wanted.abs().max(size).max(1e-2);
                    assert!(
                        gap < allowed,
                        "{label}: {name}[{i}] is {}, differences say {wanted}",
                        gradient[i]
                    );
                }
            }
        }
    }

    /// Central difference of the loss; `None` if a token changes its expert.
    fn difference(&self, var: &Var, i: usize) -> Option<f64> {
        let values: Vec<f64> = var.flatten_all().unwrap().to_vec1().unwrap();
        let before = self.choices();
        let at = |offset: f64| {
            let mut moved = values.clone();
            moved[i] += offset;
            var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap()).unwrap();
            (self.loss(), self.choices() == before)
        };
        let ((above, same_above), (below, same_below)) = (at(STEP), at(-STEP));
        at(0.0);
        (same_above && same_below).then_some((above - below) / (2.0 * STEP))
    }
}

#[test]
fn every_method_through_every_block() {
    for name in names() {
        let method = preset(name).unwrap();
        if method.adapter.is_none() {
            Case::new("timm_plain", method).check(name);
            continue;
        }
        // Gradients must cross every kind of adapted layer. Behind the last block's
        // attention only the class token counts, too few tokens for four experts.
        let all = LinearName::ALL.to_vec();
        let early = Blocks::List(vec![0, 1]);
        for (blocks, linears) in [(Blocks::All, vec![LinearName::Qkv]), (early, all)] {
            let method = Method { blocks, linears, ..method.clone() };
            Case::new("timm_plain", method).check(name);
        }
    }
}

#[test]
fn dropped_ranks() {
    let mut method = preset("kadaptation-moa").unwrap();
    if let Some(adapter) = &mut method.adapter {
        (adapter.dropout, adapter.rank_dropout) = (0.0, 0.3);
    }
    let case = Case::new("timm_plain", method);
    case.check("rank dropout");
    let evaluation = Pass::eval();
    let logits = case.model.logits(&case.images, &evaluation).unwrap().unwrap();
    let training = Pass::train(&case.random);
    let dropped = case.model.logits(&case.images, &training).unwrap().unwrap();
    let values = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert_ne!(values(logits), values(dropped));
}

#[test]
fn every_kind_of_backbone() {
    for backbone in BACKBONES {
        for name in ["full", "kadaptation-moa", "lora"] {
            Case::new(backbone, preset(name).unwrap()).check(&format!("{name} on {backbone}"));
        }
    }
}

#[test]
fn held_near_the_pretrained_features() {
    let lora = Method { blocks: Blocks::LastTwo, ..preset("lora").unwrap() };
    for (backbone, method) in [
        ("timm_clip_quickgelu", preset("full").unwrap()),
        ("timm_plain", preset("lora-moa").unwrap()),
        ("timm_plain", lora),
    ] {
        let label = format!("{} on {backbone} with MIRO", method.name);
        Case::new(backbone, method).held().check(&label);
    }
}
