//! What is in a folder.

use crate::evaluate::batches;
use crate::exit::note;
use crate::predictor::Predictor;
use crate::spec::{is_adapter, is_peft, local, open_backbone};
use anyhow::Result;
use moa_core::model::AdapterFolder;
use moa_core::pass::Pass;
use moa_core::peft::PeftFolder;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Facts and tensors of an adapter or backbone.
#[derive(Debug, Serialize)]
pub struct Description {
    /// Short facts in order.
    pub facts: Vec<(&'static str, String)>,
    /// Names and shapes.
    pub tensors: BTreeMap<String, Vec<usize>>,
    /// Tokens per expert of each routed layer, if images were routed.
    pub usage: BTreeMap<String, Vec<u64>>,
}

/// Describes an adapter folder, ours or of PEFT (whose backbone need not be there), or a
/// backbone.
///
/// # Errors
/// If it is neither, or damaged.
pub fn describe(path: &Path) -> Result<Description> {
    let path = &local(path)?;
    let mut facts = Vec::new();
    let mut tensors = BTreeMap::new();
    if is_peft(path) {
        let PeftFolder { config, tensors: held, .. } =
            PeftFolder::read(path).map_err(|e| crate::spec::located(path, e))?;
        tensors.extend(held.iter().map(|(name, t)| (name.clone(), t.dims().to_vec())));
        let numbers: usize = held.values().map(candle_core::Tensor::elem_count).sum();
        let variants = config.variants.iter().map(|variant| format!(", {variant}"));
        let kind = format!("{:?}", config.kind).to_uppercase() + &variants.collect::<String>();
        facts.push(("format", format!("PEFT {kind}")));
        facts.push(("rank", format!("{} (alpha {})", config.r, config.alpha)));
        facts.push(("base model", config.base_model.unwrap_or_else(|| "not named".into())));
        facts.push(("parameters", numbers.to_string()));
    } else if is_adapter(path) {
        let AdapterFolder { card, tensors: held } =
            AdapterFolder::read(path).map_err(|e| crate::spec::located(path, e))?;
        tensors.extend(held.iter().map(|(name, t)| (name.clone(), t.dims().to_vec())));
        let backbone = &card.backbone;
        let trained = card.method.parameters(&backbone.vit);
        facts.push(("method", card.method.label()));
        facts.push(("trained", format!("{trained} parameters besides the head")));
        facts.push(("classes", card.classes.join(", ")));
        facts.push(("backbone", format!("{} (sha256 {:.12}...)", backbone.spec, backbone.sha256)));
        facts.push(("input", format!("{} x {}", card.preprocess.height, card.preprocess.width)));
        let t = &card.training;
        if !t.dataset.is_empty() {
            facts.push(("dataset", t.dataset.clone()));
            facts.push(("trained on", t.train_envs.join(", ")));
            facts.push(("held out", t.test_envs.join(", ")));
            facts.push(("after step", (t.step + 1).to_string()));
            facts.push(("seeds", format!("{} (splits {})", t.seed, t.trial_seed)));
        }
    } else {
        let backbone = open_backbone(&path.to_string_lossy())?;
        let (config, image) = (&backbone.config, &backbone.preprocess);
        tensors.extend(config.tensors());
        let numbers: usize =
            tensors.values().map(|s: &Vec<usize>| s.iter().product::<usize>()).sum();
        facts.push(("layout", format!("{:?}", backbone.layout)));
        facts.push(("width", config.dim.to_string()));
        facts.push(("blocks", config.depth.to_string()));
        facts.push(("heads", config.heads.to_string()));
        facts.push(("patch", config.patch_size.to_string()));
        facts.push(("parameters", format!("{numbers} without head")));
        facts.push(("head", if config.head.is_some() { "yes".into() } else { "no".into() }));
        facts.push(("input", format!("{} x {}", image.height, image.width)));
        facts.push(("sha256", backbone.sha256()?));
    }
    Ok(Description { facts, tensors, usage: BTreeMap::new() })
}

/// Tokens per expert of every routed layer over some images, and how many images
/// could not be read; each of those is reported on stderr.
///
/// # Errors
/// Only if the device fails.
pub fn usage(
    predictor: &Predictor,
    images: Vec<PathBuf>,
    batch: usize,
    workers: usize,
) -> Result<(BTreeMap<String, Vec<u64>>, usize)> {
    let (mut sums, mut failed) = (BTreeMap::<String, Vec<u64>>::new(), 0);
    for images in batches(predictor, images, batch, workers) {
        let mut inputs = Vec::new();
        for (_, image) in images {
            match image {
                Ok(pixels) => inputs.push(pixels),
                Err(error) => {
                    note(error);
                    failed += 1;
                }
            }
        }
        if inputs.is_empty() {
            continue;
        }
        let pass = Pass::eval().watching();
        predictor.classifier.features(&predictor.input(&inputs)?, &pass)?;
        for (layer, routing) in pass.routings() {
            let counts = routing.tokens_per_expert()?;
            let sum = sums.entry(layer.name).or_insert_with(|| vec![0; counts.len()]);
            sum.iter_mut().zip(counts).for_each(|(s, n)| *s += n as u64);
        }
    }
    Ok((sums, failed))
}
