//! Folders as they should be, and as they should not.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;

mod read;
mod refused;
mod sharded;

use super::raw::encode;
use super::*;

const CONFIG: &str = r#"{"architecture": "vit_base_patch16_clip_224", "num_classes": 3,
    "model_args": {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2},
    "pretrained_cfg": {"input_size": [3, 8, 8], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
                       "crop_pct": 1.0, "label_names": ["a", "b", "c"]}}"#;

type Tensors = BTreeMap<String, RawTensor>;

fn dummy(number: usize, shape: &[usize]) -> RawTensor {
    let count: usize = shape.iter().product();
    // Multiples of 1/8 below 16: every floating-point type holds them.
    let data = (0..count).map(|i| ((i * 7 + number * 3) % 127) as f32 / 8.0).collect();
    RawTensor { shape: shape.to_vec(), data }
}

/// The tensors of [`CONFIG`].
fn tensors() -> Tensors {
    let mut config = config::tests::full();
    config.image_size = (8, 8);
    (config.patch_size, config.dim, config.mlp_hidden) = (4, 8, 32);
    (config.patch_bias, config.layer_scale, config.registers) = (false, false, 0);
    let mut shapes = config.tensors();
    shapes.push(("head.weight".into(), vec![3, 8]));
    shapes.push(("head.bias".into(), vec![3]));
    shapes.into_iter().enumerate().map(|(i, (name, shape))| (name, dummy(i, &shape))).collect()
}

fn write(path: &Path, tensors: &Tensors, dtype: Dtype) {
    let encoded: Vec<_> =
        tensors.iter().map(|(name, t)| (name, t.shape.clone(), encode(&t.data, dtype))).collect();
    let views = encoded.iter().map(|(name, shape, (dtype, bytes))| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn folder(config: &str, tensors: &Tensors) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("config.json"), config).unwrap();
    write(&dir.path().join("model.safetensors"), tensors, Dtype::F32);
    dir
}

/// The message about a folder, with the folder's path as `DIR`.
fn refusal(dir: &TempDir) -> String {
    let error = match Backbone::open(dir.path()) {
        Err(error) => error,
        Ok(backbone) => backbone.read_all().unwrap_err(),
    };
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text.replace(&*dir.path().to_string_lossy(), "DIR")
}

fn refused(config: &str, change: impl Fn(&mut Tensors)) -> String {
    let mut all = tensors();
    change(&mut all);
    refusal(&folder(config, &all))
}
