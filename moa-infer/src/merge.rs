//! Folding an adapter into its backbone.
//!
//! The result is a backbone folder in the backbone's own layout that timm,
//! open_clip or transformers load like any other. Where the layout has a
//! classifier, it becomes the adapter's head; CLIP layouts have none, so the
//! head is written beside them as a `linear-probe` adapter in `head/`.

mod config;

use crate::foreign::Foreign;
use crate::predictor::Predictor;
use crate::spec::{is_peft, local, whole};
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use config::{edit, name_classes, preprocess};
use moa_core::backbone::{Backbone, DiskTensor, HeadKind, Layout, RawTensor};
use moa_core::files::{replace_dir, write_synced};
use moa_core::method::Method;
use moa_core::model::AdapterFolder;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Writes the merged backbone to `out`.
///
/// # Errors
/// If the adapter routes tokens (no single matrix does the same), was trained at
/// another image size than the backbone's, or a folder cannot be read or written.
pub fn merge(adapter: &Path, backbone: Option<&str>, out: &Path) -> Result<()> {
    let adapter = &local(adapter)?;
    if is_peft(adapter) {
        return merge_foreign(adapter, backbone, out);
    }
    let (predictor, folder, weights) = Predictor::with_parts(adapter, backbone, &Device::Cpu)?;
    let changed = changed(&folder, &predictor, &weights)?;
    let config = &predictor.classifier.vit.config;
    if config.image_size != weights.config.image_size {
        anyhow::bail!(
            "{}: trained at {:?} pixels, the backbone's position table is for {:?}; merge needs both equal",
            adapter.display(),
            config.image_size,
            weights.config.image_size
        );
    }
    replace_dir(out, |dir| -> Result<()> {
        weights.save(dir, &changed)?;
        let Some(kind) = weights.layout.classifier() else {
            preprocess(dir, weights.layout, &folder.card)?;
            // The head's backbone is the merged one: its hash is only known now.
            return head_adapter(dir, out, &folder);
        };
        let mut tensors = weights.to_disk(&changed)?;
        let head = |name| folder.tensors.get(name).context("the adapter has no head");
        let head = (head("head.weight")?.clone(), head("head.bias")?);
        replace_head(&mut tensors, &weights, kind, head)?;
        write(&dir.join(format!("{}.safetensors", stem(weights.layout))), &tensors)?;
        edit(&dir.join("config.json"), |config| {
            name_classes(config, weights.layout, &folder.card.classes)
        })?;
        preprocess(dir, weights.layout, &folder.card)
    })
}

/// Every tensor of the backbone that the adapter changes, under timm's names.
fn changed(
    folder: &AdapterFolder,
    predictor: &Predictor,
    weights: &Backbone,
) -> Result<BTreeMap<String, RawTensor>> {
    let raw = |t: &Tensor| -> Result<RawTensor> {
        let data = t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(RawTensor { shape: t.dims().to_vec(), data })
    };
    let mut changed = BTreeMap::new();
    let method = &folder.card.method;
    for block in predictor.classifier.vit.blocks() {
        for linear in block.linears() {
            if linear.is_plain() {
                continue;
            }
            let Some((weight, bias)) = linear.merged()? else {
                anyhow::ensure!(
                    linear.is_routed(),
                    "method `{}` has a bottleneck behind `{}` that is not linear, so no single \
                     matrix computes the same; train it with method.adapter.activation=none, or \
                     use the adapter folder as it is",
                    method.name,
                    linear.name()
                );
                anyhow::bail!(
                    "method `{}` sends each token to an expert of its own in `{}`, so no single \
                     matrix computes the same: a routed mixture cannot be merged; use the \
                     adapter folder as it is",
                    method.name,
                    linear.name()
                );
            };
            changed.insert(format!("{}.weight", linear.name()), raw(&weight)?);
            if let Some(bias) = bias {
                changed.insert(format!("{}.bias", linear.name()), raw(&bias)?);
            }
        }
    }
    // Tensors of the backbone that trained themselves (full, attention, bias).
    let own: Vec<&str> = weights.tensors().map(|(name, _)| name).collect();
    for (name, tensor) in &folder.tensors {
        if own.contains(&name.as_str()) && !name.starts_with("head.") {
            changed.insert(name.clone(), raw(tensor)?);
        }
    }
    Ok(changed)
}

fn stem(layout: Layout) -> &'static str {
    if layout == Layout::OpenClip { "open_clip_model" } else { "model" }
}

/// A foreign adapter: the folder's own transform stays.
fn merge_foreign(adapter: &Path, backbone: Option<&str>, out: &Path) -> Result<()> {
    let Foreign { backbone, mut folded, .. } = Foreign::open(adapter, backbone)?;
    let head = match folded.head {
        None => None,
        Some(_) => {
            let kind = backbone.layout.classifier().with_context(|| {
                format!(
                    "{}: brings a head, for which {:?} has no place: use the adapter as it is",
                    adapter.display(),
                    backbone.layout
                )
            })?;
            let mut take = |name| -> Result<Tensor> {
                let raw = folded.changed.remove(name);
                let raw = raw.with_context(|| format!("the adapter has no {name}"))?;
                Ok(Tensor::from_vec(raw.data, raw.shape, &Device::Cpu)?)
            };
            Some((kind, take("head.weight")?, take("head.bias")?))
        }
    };
    replace_dir(out, |dir| -> Result<()> {
        backbone.save(dir, &folded.changed)?;
        let Some((kind, weight, bias)) = head else { return Ok(()) };
        let mut tensors = backbone.to_disk(&folded.changed)?;
        let classes = weight.dim(0)?;
        replace_head(&mut tensors, &backbone, kind, (weight, &bias))?;
        write(&dir.join(format!("{}.safetensors", stem(backbone.layout))), &tensors)?;
        if backbone.classes == Some(classes) {
            return Ok(());
        }
        let names: Vec<String> = (0..classes).map(|i| format!("LABEL_{i}")).collect();
        edit(&dir.join("config.json"), |config| name_classes(config, backbone.layout, &names))
    })
}

/// Puts a head in the place of the layout's classifier.
fn replace_head(
    tensors: &mut BTreeMap<String, DiskTensor>,
    backbone: &Backbone,
    kind: HeadKind,
    (weight, bias): (Tensor, &Tensor),
) -> Result<()> {
    let name = if backbone.layout == Layout::Timm { "head" } else { "classifier" };
    // What the classifier reads beside the pooled feature gets no weight.
    let (classes, width) = weight.dims2()?;
    let weight = match kind.width(backbone.config.dim).checked_sub(width) {
        Some(0) => weight,
        Some(more) => {
            let zeros = Tensor::zeros((classes, more), DType::F32, &Device::Cpu)?;
            Tensor::cat(&[&weight, &zeros], 1)?
        }
        None => anyhow::bail!("the head reads more than the classifier of this layout does"),
    };
    for (part, tensor) in [("weight", &weight), ("bias", bias)] {
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let (dtype, shape) = (safetensors::Dtype::F32, tensor.dims().to_vec());
        tensors.insert(format!("{name}.{part}"), DiskTensor { dtype, shape, bytes });
    }
    Ok(())
}

fn write(path: &Path, tensors: &BTreeMap<String, DiskTensor>) -> Result<()> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, t) in tensors {
        let view = safetensors::tensor::TensorView::new(t.dtype, t.shape.clone(), &t.bytes)?;
        views.push((name.as_str(), view));
    }
    let metadata = [("format".to_string(), "pt".to_string())].into();
    Ok(write_synced(path, safetensors::serialize(views, Some(metadata))?)?)
}

/// The head as a `linear-probe` adapter on the merged backbone.
fn head_adapter(dir: &Path, out: &Path, folder: &AdapterFolder) -> Result<()> {
    let merged = Backbone::open(dir)?;
    let mut card = folder.card.clone();
    card.method = Method::linear_probe();
    card.backbone.sha256 = merged.sha256()?;
    let absolute: PathBuf = std::path::absolute(out).unwrap_or_else(|_| out.into());
    card.backbone.spec = whole(&absolute.to_string_lossy());
    let head = |name: &&String| name.starts_with("head.");
    let names = folder.tensors.keys().filter(head);
    let tensors = names.map(|n| (n.clone(), folder.tensors[n].clone())).collect();
    Ok(AdapterFolder { card, tensors }.write(&dir.join("head"))?)
}
