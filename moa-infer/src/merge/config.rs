//! The configuration files of a merged backbone.

use anyhow::{Context, Result};
use moa_core::backbone::Layout;
use moa_core::files::write_synced;
use moa_core::model::Card;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// Changes a JSON file.
pub(super) fn edit(path: &Path, change: impl FnOnce(&mut Map<String, Value>)) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut value: Value = serde_json::from_str(&text)?;
    change(value.as_object_mut().context("not a JSON object")?);
    Ok(write_synced(path, serde_json::to_string_pretty(&value)? + "\n")?)
}

/// Names the outputs of the classifier.
pub(super) fn name_classes(config: &mut Map<String, Value>, layout: Layout, classes: &[String]) {
    let count = classes.len();
    if layout == Layout::Timm {
        config.insert("num_classes".into(), json!(count));
        config.insert("label_names".into(), json!(classes));
        for table in ["model_args", "pretrained_cfg"] {
            if let Some(table) = config.get_mut(table).and_then(Value::as_object_mut) {
                table.insert("num_classes".into(), json!(count));
            }
        }
    } else {
        let names = || classes.iter().enumerate();
        let by_id: Map<_, _> = names().map(|(i, n)| (i.to_string(), json!(n))).collect();
        let by_name: Map<_, _> = names().map(|(i, n)| (n.clone(), json!(i))).collect();
        config.insert("id2label".into(), by_id.into());
        config.insert("label2id".into(), by_name.into());
    }
}

/// Makes the folder's own transform the adapter's: the whole image, squashed.
pub(super) fn preprocess(dir: &Path, layout: Layout, card: &Card) -> Result<()> {
    let image = &card.preprocess;
    match layout {
        Layout::Timm => edit(&dir.join("config.json"), |config| {
            if let Some(cfg) = config.get_mut("pretrained_cfg").and_then(Value::as_object_mut) {
                cfg.insert("crop_mode".into(), json!("squash"));
                cfg.insert("crop_pct".into(), json!(1.0));
                cfg.insert("interpolation".into(), json!("bilinear"));
            }
        }),
        Layout::OpenClip => edit(&dir.join("open_clip_config.json"), |config| {
            if let Some(cfg) = config.get_mut("preprocess_cfg").and_then(Value::as_object_mut) {
                cfg.insert("resize_mode".into(), json!("squash"));
                cfg.insert("interpolation".into(), json!("bilinear"));
            }
        }),
        _ => {
            let path = dir.join("preprocessor_config.json");
            if !path.is_file() {
                return Ok(());
            }
            edit(&path, |config| {
                config.insert("size".into(), json!({"height": image.height, "width": image.width}));
                config.insert("do_center_crop".into(), json!(false));
                config.insert("resample".into(), json!(2));
                config.remove("crop_size");
            })
        }
    }
}
