//! Writing an adapter of ours as a folder of PEFT.

use super::lora::{Lora, lora, rank_and_alpha};
use super::modules::{Module, Names};
use super::tensors::PREFIX;
use crate::adapter::AdapterKind;
use crate::backbone::{Layout, NameMap, Pool, VitConfig, registry};
use crate::error::{Error, Result};
use crate::method::{LinearName, Method, Trains};
use crate::model::{AdapterFolder, Card};
use candle_core::Tensor;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Whose names the layers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeftLayout {
    /// timm.
    Timm,
    /// transformers' CLIP.
    Clip,
    /// ViT and Dinov2 of transformers, as they are since 5.9 (Dinov2: since a later one).
    HfNew,
    /// The same before.
    HfLegacy,
}

/// The files of an adapter for PEFT.
#[derive(Debug)]
pub struct PeftExport {
    /// `adapter_config.json`.
    pub config: Value,
    /// `adapter_model.safetensors`.
    pub tensors: BTreeMap<String, Tensor>,
    /// The head, by our names, where the layout has no place for it.
    pub head: BTreeMap<String, Tensor>,
}

/// An adapter as LoRA for PEFT, with the same logits: a LoRA as it is, a Kronecker adapter
/// as LoRA of rank `t r` and alpha of the same.
///
/// # Errors
/// If PEFT cannot hold the method, or the layout is not of the backbone's architecture.
pub fn export(folder: &AdapterFolder, layout: PeftLayout) -> Result<PeftExport> {
    let AdapterFolder { card, tensors } = folder;
    let (method, vit) = (&card.method, &card.backbone.vit);
    let fail = |reason: &str| Error::Method { method: method.name.clone(), reason: reason.into() };
    if method.router.is_some() {
        return Err(fail(
            "sends each token to an expert of its own, for which PEFT has no type; \
             docs/load_routed.py loads the adapter folder in PyTorch as it is",
        ));
    }
    let adapter = match &method.adapter {
        Some(adapter) => adapter,
        None if method.trains == Trains::Nothing => {
            return Err(fail("has no adapter, only a head: there is nothing to write for PEFT"));
        }
        None => return Err(fail("trains the backbone itself; `merge` writes it as a backbone")),
    };
    if adapter.kind == AdapterKind::Compacter {
        return Err(fail(
            "stands behind its layer, for which PEFT has no type; docs/load_routed.py \
             loads the adapter folder in PyTorch as it is",
        ));
    }
    let names = names(layout, vit, card.classes.len()).map_err(fail)?;
    let (mut stored, mut targets, mut saved) = (BTreeMap::new(), Vec::new(), Vec::new());
    for path in adapted(method, vit.depth) {
        let Lora { down, up, bias } = lora(adapter, tensors, &path)?;
        let weight = format!("{path}.weight");
        let pieces = &names.map.tensors[&weight].pieces;
        let rows = up.dim(0)? / pieces.len();
        for (i, piece) in pieces.iter().enumerate() {
            let module = names.modules.iter().find(|module| module.weight == *piece);
            let Module { path, key, .. } =
                module.ok_or_else(|| Error::missing(piece, &names.pieces))?;
            let mut put = |part: &str, tensor: Tensor| {
                stored.insert(format!("{PREFIX}{key}.{part}"), tensor);
            };
            put("lora_A.weight", down.clone());
            put("lora_B.weight", up.narrow(0, i * rows, rows)?.contiguous()?);
            if let Some(bias) = &bias {
                put("lora_B.bias", bias.narrow(0, i * rows, rows)?.contiguous()?);
            }
            targets.push(path.clone());
        }
    }
    let mut head = BTreeMap::new();
    for ours in ["head.weight", "head.bias"] {
        let tensor = tensors.get(ours).ok_or_else(|| Error::missing(ours, tensors))?;
        match names.map.tensors.get(ours).and_then(|stored| stored.pieces.first()) {
            Some(name) => {
                let name = name.clone();
                let width = names.pieces[&name].shape.last().copied().unwrap_or(0);
                stored.insert(format!("{PREFIX}{name}"), widened(tensor, width)?);
                saved.extend(name.strip_suffix(".weight").map(String::from));
            }
            None => drop(head.insert(ours.into(), tensor.clone())),
        }
    }
    let config = config(card, &targets, &saved, rank_and_alpha(adapter), adapter.bias);
    Ok(PeftExport { config, tensors: stored, head })
}

/// The layers that carry an adapter, by our names.
fn adapted(method: &Method, depth: usize) -> impl Iterator<Item = String> {
    let all = (0..depth).flat_map(|block| LinearName::ALL.map(|which| (which, block)));
    all.filter(move |&(which, block)| method.adapts(which, block, depth))
        .map(|(which, block)| which.path(block))
}

/// `adapter_config.json`: what PEFT does not have by default.
fn config(
    card: &Card,
    targets: &[String],
    saved: &[String],
    (r, alpha): (usize, f64),
    bias: bool,
) -> Value {
    let spec = &card.backbone.spec;
    let base = registry::find(spec).map_or_else(|_| spec.clone(), |known| known.repo);
    // A path may hold an `@`, too.
    let (base, revision) = match base.split_once('@').filter(|_| !Path::new(&base).is_absolute()) {
        Some((repo, revision)) => (repo, Some(revision)),
        None => (base.as_str(), None),
    };
    let mut config = json!({
        "peft_type": "LORA",
        "task_type": null,
        "base_model_name_or_path": base,
        "inference_mode": true,
        "r": r,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": targets,
    });
    if revision.is_some() {
        config["revision"] = json!(revision);
    }
    if !saved.is_empty() {
        config["modules_to_save"] = json!(saved);
    }
    if bias {
        config["lora_bias"] = json!(true);
    }
    config
}

/// The names of a layout, if it has this architecture.
fn names(
    layout: PeftLayout,
    vit: &VitConfig,
    classes: usize,
) -> std::result::Result<Names, &'static str> {
    let hf = match (vit.layer_scale, vit.registers) {
        (false, _) => Layout::HfVit,
        (true, 0) => Layout::HfDinov2,
        (true, _) => Layout::HfDinov2WithRegisters,
    };
    let (ours, in_memory) = match layout {
        PeftLayout::Timm => (Layout::Timm, true),
        PeftLayout::Clip if !vit.pre_norm => {
            return Err(
                "is on a backbone that is no CLIP: use the layout timm, hf-new or hf-legacy",
            );
        }
        PeftLayout::Clip => (Layout::HfClip, true),
        _ if vit.pre_norm => return Err("is on a CLIP backbone: use the layout clip or timm"),
        _ if vit.pool == Pool::Avg => {
            return Err("is on a backbone that averages its patches: use the layout timm");
        }
        PeftLayout::HfNew => (hf, true),
        PeftLayout::HfLegacy => (hf, false),
    };
    let map = NameMap::in_layout(ours, in_memory, &vit.tensors(), vit.mlp);
    Ok(Names::new(map.ok_or("is on a backbone without names in this layout")?, vit, classes))
}

/// A head for a classifier that reads `width` numbers, the feature first; what it reads
/// beside that gets no weight.
fn widened(head: &Tensor, width: usize) -> Result<Tensor> {
    match (head.rank(), head.dims().last()) {
        (2, Some(&own)) if own < width => {
            let zeros = Tensor::zeros((head.dim(0)?, width - own), head.dtype(), head.device())?;
            Ok(Tensor::cat(&[head, &zeros], 1)?)
        }
        _ => Ok(head.clone()),
    }
}

/// `adapter_config.json` beside our own files, which for a plain LoRA have PEFT's names
/// and timm's layers.
pub(crate) fn own_config(card: &Card) -> Option<Value> {
    let adapter = card.method.adapter.as_ref()?;
    let targets: Vec<String> = adapted(&card.method, card.backbone.vit.depth).collect();
    Some(config(card, &targets, &["head".into()], rank_and_alpha(adapter), false))
}
