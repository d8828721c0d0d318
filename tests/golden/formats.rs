//! Checkpoints written by timm, open_clip and transformers: opened, named, resampled
//! and written back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use moa_core::backbone::{Backbone, DiskTensor, HeadKind, Layout, MlpKind, Pool, VitConfig};
use safetensors::SafeTensors;
use serde_json::Value;

type Check = Result<(), Failed>;

/// Checkpoints that belong to other sections: opened and written back, too.
const ELSEWHERE: [&str; 3] = ["peft/base_timm", "peft/base_hf_vit", "vit_moa/backbone"];

/// Trials for every checkpoint under `root`.
pub fn trials(root: &Path) -> Vec<Trial> {
    let dir = root.join("backbones");
    let mut trials = Vec::new();
    let mut add = |name: String, check: Box<dyn FnOnce() -> Check + Send>| {
        trials.push(Trial::test(format!("formats/{name}"), check));
    };
    let text = fs::read_to_string(dir.join("index.json")).unwrap_or_default();
    let index: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    if index.is_empty() {
        add("index".into(), Box::new(|| Err("backbones/index.json is missing or empty".into())));
    }
    for (name, facts) in index {
        let dir = dir.join(&name);
        let here = dir.clone();
        add(format!("{name}/facts"), Box::new(move || check_facts(&here, &facts)));
        let here = dir.clone();
        add(format!("{name}/shapes"), Box::new(move || check_shapes(&here)));
        let here = dir.clone();
        add(format!("{name}/round_trip"), Box::new(move || round_trip(&here)));
        for file in expected_files(&dir) {
            let here = dir.clone();
            let shown = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            add(format!("{name}/{shown}"), Box::new(move || check_expected(&here, &file)));
        }
    }
    for name in ELSEWHERE {
        let dir = root.join(name);
        if dir.is_dir() {
            let here = dir.clone();
            add(format!("{name}/shapes"), Box::new(move || check_shapes(&here)));
            add(format!("{name}/round_trip"), Box::new(move || round_trip(&dir)));
        }
    }
    trials
}

fn expected_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("expected") && name.ends_with(".safetensors")
        })
        .collect();
    files.sort();
    files
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Check {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?}, not {wanted:?}").into()) }
}

fn number(value: &Value) -> Option<usize> {
    value.as_u64().map(|n| n as usize)
}

fn pair(value: &Value) -> Option<(usize, usize)> {
    match value.as_array() {
        Some(list) => Some((number(list.first()?)?, number(list.get(1)?)?)),
        None => number(value).map(|n| (n, n)),
    }
}

/// What the generator wrote down about a model.
fn check_facts(dir: &Path, facts: &Value) -> Check {
    let backbone = Backbone::open(dir)?;
    let config = &backbone.config;
    match facts["library"].as_str() {
        Some("timm") => {
            equal("layout", backbone.layout, Layout::Timm)?;
            timm_facts(&backbone, facts)
        }
        Some("open_clip") => {
            equal("layout", backbone.layout, Layout::OpenClip)?;
            open_clip_facts(config, &facts["config"])
        }
        Some("transformers") => hf_facts(&backbone, facts),
        other => Err(format!("library {other:?} is not known").into()),
    }
}

fn timm_facts(backbone: &Backbone, facts: &Value) -> Check {
    let config = &backbone.config;
    equal("norm_eps", Some(config.norm_eps), facts["norm_eps"].as_f64())?;
    equal("patch_bias", Some(config.patch_bias), facts["patch_bias"].as_bool())?;
    let prefix = number(&facts["num_prefix_tokens"]).unwrap_or_default();
    equal("prefix tokens", 1 + config.registers, prefix)?;
    let in_table = if facts["no_embed_class"] == true { 0 } else { prefix };
    equal("pos_embed_prefix", config.pos_embed_prefix, in_table)?;
    let architecture = facts["architecture"].as_str().unwrap_or_default();
    let quick = architecture.contains("quickgelu");
    equal("mlp", config.mlp, if quick { MlpKind::QuickGelu } else { MlpKind::Gelu })?;
    equal("pre_norm", config.pre_norm, architecture.contains("clip"))?;
    equal("layer_scale", config.layer_scale, architecture.contains("dinov2"))?;
    let given = &facts["overrides"];
    equal("image_size", Some(config.image_size), pair(&given["img_size"]))?;
    equal("patch_size", Some(config.patch_size), number(&given["patch_size"]))?;
    equal("dim", Some(config.dim), number(&given["embed_dim"]))?;
    equal("depth", Some(config.depth), number(&given["depth"]))?;
    equal("heads", Some(config.heads), number(&given["num_heads"]))?;
    let ratio = given["mlp_ratio"].as_f64().unwrap_or(4.0);
    equal("mlp_hidden", config.mlp_hidden, (config.dim as f64 * ratio) as usize)?;
    equal("qkv_bias", config.qkv_bias, given["qkv_bias"].as_bool().unwrap_or(true))?;
    let averaged = given["global_pool"] == "avg";
    equal("pool", config.pool, if averaged { Pool::Avg } else { Pool::Cls })?;
    let classes = number(&given["num_classes"]).filter(|&count| count > 0);
    equal("classes", backbone.classes, classes)?;
    let preprocess = &backbone.preprocess;
    equal("input", (preprocess.height, preprocess.width), config.image_size)
}

fn open_clip_facts(config: &VitConfig, given: &Value) -> Check {
    let vision = &given["vision_cfg"];
    equal("image_size", Some(config.image_size), pair(&vision["image_size"]))?;
    equal("patch_size", Some(config.patch_size), number(&vision["patch_size"]))?;
    equal("dim", Some(config.dim), number(&vision["width"]))?;
    equal("depth", Some(config.depth), number(&vision["layers"]))?;
    let heads = number(&vision["head_width"]).map(|width| config.dim / width);
    equal("heads", Some(config.heads), heads)?;
    let ratio = vision["mlp_ratio"].as_f64().unwrap_or(4.0);
    equal("mlp_hidden", config.mlp_hidden, (config.dim as f64 * ratio) as usize)?;
    equal("projection_dim", config.projection_dim, number(&given["embed_dim"]))?;
    let quick = given["quick_gelu"] == true;
    equal("mlp", config.mlp, if quick { MlpKind::QuickGelu } else { MlpKind::Gelu })?;
    equal("norm_eps", config.norm_eps, 1e-5)
}

fn hf_facts(backbone: &Backbone, facts: &Value) -> Check {
    let config = &backbone.config;
    let class = facts["cls"].as_str().unwrap_or_default();
    let (layout, head, eps) = match class {
        "CLIPModel" | "CLIPVisionModel" | "CLIPVisionModelWithProjection" => {
            (Layout::HfClip, None, 1e-5)
        }
        "ViTForImageClassification" => (Layout::HfVit, Some(HeadKind::Pooled), 1e-12),
        "Dinov2ForImageClassification" => (Layout::HfDinov2, Some(HeadKind::ClsAndPatchMean), 1e-6),
        "Dinov2WithRegistersForImageClassification" => {
            (Layout::HfDinov2WithRegisters, Some(HeadKind::ClsAndPatchMean), 1e-6)
        }
        other => return Err(format!("class {other} is not known").into()),
    };
    equal("layout", backbone.layout, layout)?;
    equal("head", config.head, head)?;
    equal("norm_eps", config.norm_eps, facts["eps"].as_f64().unwrap_or(eps))?;
    equal("registers", config.registers, number(&facts["registers"]).unwrap_or(0))?;
    let mlp = match (facts["swiglu"] == true, facts["hidden_act"].as_str()) {
        (true, _) => MlpKind::SwiGlu,
        (false, Some("quick_gelu")) => MlpKind::QuickGelu,
        (false, _) => MlpKind::Gelu,
    };
    equal("mlp", config.mlp, mlp)?;
    // Our head leaves registers out of the mean, as the library does.
    equal("registers in the head", facts["head_averages_registers_too"] == true, false)?;
    let sharded = facts["sharded"] == true;
    equal("shards", backbone.files.len() > 1, sharded)?;
    let names = backbone.class_names.as_ref().map(Vec::len);
    equal("class names", names, backbone.classes)
}

/// Every tensor of the architecture, with its shape and finite values.
fn check_shapes(dir: &Path) -> Check {
    let backbone = Backbone::open(dir)?;
    let tensors = backbone.read_all()?;
    let mut wanted = backbone.config.tensors();
    if let (Some(classes), Some(width)) = (backbone.classes, backbone.config.head_width()) {
        wanted.push(("head.weight".into(), vec![classes, width]));
        wanted.push(("head.bias".into(), vec![classes]));
    }
    if let Some(width) = backbone.config.projection_dim {
        wanted.push(("projection.weight".into(), vec![width, backbone.config.dim]));
    }
    equal("number of tensors", tensors.len(), wanted.len())?;
    for (name, shape) in wanted {
        let tensor = tensors.get(&name).ok_or_else(|| format!("{name} is missing"))?;
        equal(&name, &tensor.shape, &shape)?;
        equal(&name, tensor.data.len(), shape.iter().product())?;
    }
    Ok(())
}

/// The tensors of the files, by the safetensors library alone.
fn on_disk(backbone: &Backbone) -> Result<BTreeMap<String, DiskTensor>, Failed> {
    let mut all = BTreeMap::new();
    for file in &backbone.files {
        let bytes = fs::read(file)?;
        for (name, view) in SafeTensors::deserialize(&bytes)?.iter() {
            let (dtype, shape) = (view.dtype(), view.shape().to_vec());
            let tensor = DiskTensor { dtype, shape, bytes: view.data().to_vec() };
            all.insert(name.to_owned(), tensor);
        }
    }
    Ok(all)
}

/// Through our names and back every tensor is the same, in memory and on disk.
fn round_trip(dir: &Path) -> Check {
    let backbone = Backbone::open(dir)?;
    let original = on_disk(&backbone)?;
    let ours = backbone.read_all()?;
    if backbone.to_disk(&ours)? != original {
        return Err("to_disk(read_all()) differs from the files".into());
    }
    let copy = tempfile::tempdir()?;
    backbone.save(copy.path(), &ours)?;
    let again = Backbone::open(copy.path())?;
    equal("config", &again.config, &backbone.config)?;
    equal("preprocess", &again.preprocess, &backbone.preprocess)?;
    if on_disk(&again)? != original || again.read_all()? != ours {
        return Err("the saved copy differs from the original".into());
    }
    Ok(())
}

/// Shapes of the recorded outputs, and the resampled position table.
fn check_expected(dir: &Path, file: &Path) -> Check {
    let backbone = Backbone::open(dir)?;
    let bytes = fs::read(file)?;
    let expected = SafeTensors::deserialize(&bytes)?;
    let &[_, 3, height, width] = expected.tensor("pixel_values")?.shape() else {
        return Err("pixel_values are not [b, 3, h, w]".into());
    };
    let config = VitConfig { image_size: (height, width), ..backbone.config.clone() };
    config.check(file)?;
    let (dim, classes) = (config.dim, backbone.classes);
    for (name, wanted) in [
        ("out.tokens", vec![config.tokens(), dim]),
        ("out.vision_tokens_before_post_norm", vec![config.tokens(), dim]),
        ("out.pooled", vec![dim]),
        ("out.vision_pooled", vec![dim]),
        ("out.logits", vec![classes.unwrap_or(dim)]),
        ("out.image_features", vec![config.projection_dim.unwrap_or(0)]),
        ("out.image_embeds", vec![config.projection_dim.unwrap_or(0)]),
    ] {
        if let Ok(tensor) = expected.tensor(name) {
            equal(name, tensor.shape().get(1..), Some(wanted.as_slice()))?;
        }
    }
    let Ok(table) = expected.tensor("pos_embed_resampled") else { return Ok(()) };
    let (values, _) = table.data().as_chunks::<4>();
    let found = backbone.pos_embed(config.grid())?;
    equal("positions", found.len(), values.len())?;
    let wanted = values.iter().map(|&raw| f32::from_le_bytes(raw));
    let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    if worst < 1e-5 { Ok(()) } else { Err(format!("position table is off by {worst:e}").into()) }
}
