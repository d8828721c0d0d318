//! Backbones with random weights: where pretraining starts, and what speed is
//! measured on.

use anyhow::Result;
use candle_core::Tensor;
use moa_core::adapter::Init;
use moa_core::backbone::VitConfig;
use moa_core::files::write_synced;
use moa_core::model::write_half;
use std::collections::BTreeMap;
use std::path::Path;

/// Writes a folder in timm's layout with timm's initial values (`VisionTransformer`,
/// `weight_init=""`). `config` is the text of `config.json` and must say what `vit` says.
///
/// # Errors
/// If the folder cannot be written.
pub fn write_random(
    dir: &Path,
    config: &serde_json::Value,
    vit: &VitConfig,
    seed: u64,
) -> Result<()> {
    let mut tensors = BTreeMap::new();
    for (name, shape) in vit.tensors() {
        let init = match () {
            () if name.contains("norm") && name.ends_with("weight") => Init::Constant(1.0),
            () if name.ends_with("gamma") => Init::Constant(1.0),
            () if name.ends_with("bias") => Init::Zeros,
            () if name.starts_with("patch_embed") => {
                Init::Normal(1.0 / ((3 * vit.patch_size * vit.patch_size) as f64).sqrt())
            }
            () => Init::Normal(0.02),
        };
        let tensor = init.draw(&name, &shape, seed)?;
        tensors.insert(name, tensor);
    }
    write_backbone(dir, config, &tensors)
}

/// Writes `config.json` and the weights, in half precision, into a folder that exists.
///
/// # Errors
/// If it cannot be written.
pub fn write_backbone(
    dir: &Path,
    config: &serde_json::Value,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<()> {
    write_half(&dir.join("model.safetensors"), tensors)?;
    let text = serde_json::to_string_pretty(config)? + "\n";
    Ok(write_synced(&dir.join("config.json"), text)?)
}
