//! Folding a foreign adapter into the tensors of its backbone.

use super::config::{Biases, PeftConfig};
use super::delta::{PARTS, adapted};
use super::modules::{Module, Names, Piece};
use super::tensors::{PREFIX, Tensors, misshapen};
use crate::backbone::{Backbone, HeadKind, RawTensor};
use crate::error::{Error, Result};
use crate::suggest::nearest;
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

/// A backbone's tensors as a foreign adapter changes them.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    /// Every tensor that changes, by our names, the head included.
    pub changed: BTreeMap<String, RawTensor>,
    /// What the head reads, if the adapter brings one.
    pub head: Option<HeadKind>,
    /// Tensors of the file for parts that take no part in an image's feature, such as a
    /// text tower.
    pub outside: usize,
}

impl Folded {
    /// Outputs of the head that the adapter brings or changes.
    pub fn classes(&self) -> Option<usize> {
        self.changed.get("head.weight").and_then(|head| head.shape.first().copied())
    }
}

/// Folds `all`, the tensors of an adapter file, into those of `backbone`.
///
/// # Errors
/// If the adapter is for another model, or a tensor is missing, extra or misshapen.
pub(super) fn fold(
    config: &PeftConfig,
    all: BTreeMap<String, Tensor>,
    backbone: &Backbone,
) -> Result<Folded> {
    let names = layout(&all, backbone)?;
    let targets: Vec<&Module> = names.modules.iter().filter(|m| config.targets.hold(m)).collect();
    let mut changed = Changed { names: &names, backbone, new: BTreeMap::new() };
    let mut tensors = Tensors::new(all);
    let head = take_saved(config, &targets, &mut tensors, &mut changed)?;
    for module in &targets {
        let weight = changed.get(&module.weight)?;
        let rows = weight.dim(0)?;
        let flat = weight.reshape((rows, weight.elem_count() / rows.max(1)))?;
        let (adapted, extra) = adapted(config, module, &flat, &mut tensors)?;
        changed.set(&module.weight, adapted.reshape(weight.dims())?);
        // PEFT does not add it in a fused attention.
        if let Some(extra) = extra.filter(|_| !module.bias.ends_with("in_proj_bias")) {
            changed.set(&module.bias, (changed.get(&module.bias)? + extra)?);
        }
    }
    let outside = tensors.finish(|name| names.map.ignores(name))?;
    Ok(Folded { changed: changed.joined()?, head, outside })
}

/// The layout whose names most tensors of the file have.
fn layout(all: &BTreeMap<String, Tensor>, backbone: &Backbone) -> Result<Names> {
    let plain = all.keys().map(|name| name.strip_prefix(PREFIX).unwrap_or(name));
    let found: Vec<&str> = plain.collect();
    let mut best: Option<(usize, Names)> = None;
    for names in Names::every(backbone) {
        let known = |name: &&&str| {
            let part = PARTS.iter().find_map(|part| name.strip_suffix(part)?.strip_suffix('.'));
            match part {
                Some(key) => names.modules.iter().any(|module| module.key == key),
                None => names.pieces.contains_key(**name),
            }
        };
        let count = found.iter().filter(known).count();
        if best.as_ref().is_none_or(|(most, _)| count > *most) {
            best = Some((count, names));
        }
    }
    match (best, all.keys().next()) {
        (Some((1.., names)), _) => Ok(names),
        (Some((_, names)), Some(name)) => {
            let own: Vec<String> =
                names.modules.iter().map(|m| format!("{PREFIX}{}.{}", m.key, PARTS[0])).collect();
            let near = nearest(name, &own).or(own.first().map(String::as_str)).map(String::from);
            Err(Error::Extra { name: name.clone(), near })
        }
        _ => Err(Error::missing(&format!("{PREFIX}..."), all)),
    }
}

/// Tensors that the file holds whole: `modules_to_save`, and biases if they trained. Like
/// PEFT, takes those that the configuration does not name as well. Tells what the head
/// reads, if there is one among them.
fn take_saved(
    config: &PeftConfig,
    targets: &[&Module],
    tensors: &mut Tensors,
    changed: &mut Changed<'_>,
) -> Result<Option<HeadKind>> {
    let (mut head, mut classes) = (None, None);
    // From the end: a head's weight, which decides on the classes, before its bias.
    for (name, piece) in changed.names.pieces.iter().rev() {
        let (path, leaf) = name.rsplit_once('.').unwrap_or(("", name));
        // An adapted layer keeps its own tensors one level down.
        let target = targets.iter().find(|module| module.bias == *name);
        let based = target.map(|module| format!("{}.base_layer.{leaf}", module.key));
        let stored = based.as_ref().filter(|_| !tensors.has(name)).unwrap_or(name);
        // PEFT saves no bias of a fused attention, an `in_proj_bias`.
        let bias = match config.biases {
            Biases::None => false,
            Biases::Adapted => target.is_some() && leaf == "bias",
            Biases::All => leaf == "bias",
        };
        if !tensors.has(stored) && !bias && !config.targets.saves(path) {
            continue;
        }
        let tensor = tensors.take(stored)?;
        let mut wanted = piece.shape.clone();
        if piece.ours.starts_with("head.") {
            // As many classes as it likes, in both tensors.
            wanted[0] = *classes.get_or_insert(tensor.dims().first().copied().unwrap_or(0));
            head = changed.names.map.layouts().first().and_then(|layout| layout.classifier());
        }
        if tensor.dims() != wanted {
            return Err(misshapen(stored, wanted, &tensor));
        }
        changed.new.insert(name.clone(), tensor);
    }
    Ok(head)
}

/// Foreign tensors with new values.
struct Changed<'a> {
    names: &'a Names,
    backbone: &'a Backbone,
    new: BTreeMap<String, Tensor>,
}

impl Changed<'_> {
    fn piece(&self, name: &str) -> Result<&Piece> {
        self.names.pieces.get(name).ok_or_else(|| Error::missing(name, &self.names.pieces))
    }

    /// A tensor as it is by now.
    fn get(&self, name: &str) -> Result<Tensor> {
        if let Some(tensor) = self.new.get(name) {
            return Ok(tensor.clone());
        }
        let piece = self.piece(name)?;
        let stored = &self.names.map.tensors[&piece.ours];
        let mut parts = stored.split(&self.backbone.read(&piece.ours)?);
        let data = parts.swap_remove(piece.index);
        Ok(Tensor::from_vec(data, stored.piece_shape(), &Device::Cpu)?)
    }

    fn set(&mut self, name: &str, tensor: Tensor) {
        self.new.insert(name.into(), tensor);
    }

    /// Our tensors, put together.
    fn joined(self) -> Result<BTreeMap<String, RawTensor>> {
        let mut ours = BTreeMap::new();
        for name in self.new.keys() {
            let piece = self.piece(name)?;
            let stored = &self.names.map.tensors[&piece.ours];
            let part = |name: &String| -> Result<RawTensor> {
                let tensor = self.get(name)?.to_dtype(DType::F32)?;
                Ok(RawTensor {
                    shape: tensor.dims().to_vec(),
                    data: tensor.flatten_all()?.to_vec1()?,
                })
            };
            if !ours.contains_key(&piece.ours) {
                let parts: Vec<RawTensor> =
                    stored.pieces.iter().map(part).collect::<Result<_>>()?;
                let mut whole = stored.join(parts);
                if piece.ours.starts_with("head.") {
                    whole.shape = self.new[name].dims().to_vec();
                }
                if whole.data.iter().any(|value| !value.is_finite()) {
                    return Err(Error::NotFinite(name.clone()));
                }
                ours.insert(piece.ours.clone(), whole);
            }
        }
        Ok(ours)
    }
}
