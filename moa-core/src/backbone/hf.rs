//! `config.json` of transformers: CLIP, ViT, Dinov2, Dinov2 with registers.

use std::path::Path;

use serde_json::{Map, Value};

use super::config::VitConfig;
use super::detect::Layout;
use super::error::Result;
use super::json::Keys;
use super::kinds::{HeadKind, MlpKind, Pool};
use super::parsed::{FactKeys, Parsed};
use super::pos_embed::PosResample;

const BASE_KEYS: FactKeys = FactKeys {
    image_size: "image_size",
    patch_size: "patch_size",
    dim: "hidden_size",
    depth: "num_hidden_layers",
    mlp_hidden: "intermediate_size",
    registers: "num_register_tokens",
    qkv_bias: "qkv_bias",
    patch_bias: "patch bias of this model_type",
    pre_norm: "pre-norm of this model_type",
    layer_scale: "layer scale of this model_type",
};
static KEYS: FactKeys = BASE_KEYS;
static DINOV2_KEYS: FactKeys =
    FactKeys { mlp_hidden: "mlp_ratio (with use_swiglu_ffn, its rule) * hidden_size", ..BASE_KEYS };

/// What a configuration class of transformers assumes where a key is absent.
struct Defaults {
    patch_size: usize,
    hidden_act: &'static str,
    norm_eps: f64,
    registers: usize,
}

fn defaults(layout: Layout) -> Defaults {
    let base = Defaults { patch_size: 16, hidden_act: "gelu", norm_eps: 1e-12, registers: 0 };
    match layout {
        Layout::HfClip => {
            Defaults { patch_size: 32, hidden_act: "quick_gelu", norm_eps: 1e-5, ..base }
        }
        Layout::HfDinov2 => Defaults { patch_size: 14, norm_eps: 1e-6, ..base },
        Layout::HfDinov2WithRegisters => Defaults { norm_eps: 1e-6, registers: 4, ..base },
        Layout::HfVit | Layout::Timm | Layout::OpenClip => base,
    }
}

/// Reads the configuration. `has` tells which tensors there are, for files that do
/// not name the class of the model.
///
/// # Errors
/// Names the key that is malformed or asks for something else than can be computed.
pub(super) fn parse(
    file: &Path,
    map: &Map<String, Value>,
    layout: Layout,
    has: &dyn Fn(&str) -> bool,
) -> Result<Parsed> {
    let top = Keys::new(file, map);
    let empty = Map::new();
    // `CLIPModel` keeps each tower's configuration in a table of its own.
    let nested = top.text("model_type")? == Some("clip");
    let keys = match nested {
        true => top.table("vision_config")?.unwrap_or_else(|| Keys::new(file, &empty)),
        false => top.clone(),
    };
    let (clip, dinov2) = (layout == Layout::HfClip, is_dinov2(layout));
    let Defaults { patch_size, hidden_act, norm_eps, registers } = defaults(layout);
    let (head, projected) = class(&top, layout, has)?;
    keys.must("num_channels", 3)?;
    let dim = keys.count("hidden_size")?.unwrap_or(768);
    let swiglu = dinov2 && keys.flag("use_swiglu_ffn")?.unwrap_or(false);
    let mlp = match keys.text("hidden_act")?.unwrap_or(hidden_act) {
        _ if swiglu => MlpKind::SwiGlu,
        "gelu" => MlpKind::Gelu,
        "quick_gelu" => MlpKind::QuickGelu,
        _ => {
            return Err(
                keys.unsupported("hidden_act", "\"gelu\" and \"quick_gelu\" can be computed here")
            );
        }
    };
    let mlp_hidden = match dinov2 {
        false => keys.count("intermediate_size")?.unwrap_or(3072),
        true => {
            let hidden = (dim as f64 * keys.number("mlp_ratio")?.unwrap_or(4.0)) as usize;
            // The rule of `Dinov2SwiGLUFFN`.
            if swiglu {
                ((hidden as f64 * 2.0 / 3.0) as usize).div_ceil(8).saturating_mul(8)
            } else {
                hidden
            }
        }
    };
    let registers = match layout {
        Layout::HfDinov2WithRegisters => keys.count("num_register_tokens")?.unwrap_or(registers),
        _ => 0,
    };
    let config = VitConfig {
        image_size: keys.pair("image_size")?.unwrap_or((224, 224)),
        patch_size: keys.square("patch_size")?.unwrap_or(patch_size),
        dim,
        depth: keys.count("num_hidden_layers")?.unwrap_or(12),
        heads: keys.count("num_attention_heads")?.unwrap_or(12),
        mlp_hidden,
        mlp,
        norm_eps: keys.number("layer_norm_eps")?.unwrap_or(norm_eps),
        pre_norm: clip,
        patch_bias: !clip,
        qkv_bias: clip || keys.flag("qkv_bias")?.unwrap_or(true),
        layer_scale: dinov2,
        registers,
        pos_embed_prefix: 1,
        pool: Pool::Cls,
        // Only this one asks for antialiasing.
        pos_resample: match layout {
            Layout::HfDinov2WithRegisters => PosResample::TimmAntialias,
            _ => PosResample::HfBicubic,
        },
        head,
        projection_dim: match projected {
            true => {
                Some((if nested { &top } else { &keys }).count("projection_dim")?.unwrap_or(512))
            }
            false => None,
        },
    };
    let class_names = match head {
        Some(_) => id2label(&top)?,
        None => None,
    };
    let keys = if dinov2 { &DINOV2_KEYS } else { &KEYS };
    Ok(Parsed { config, preprocess: None, classes: None, class_names, keys })
}

fn is_dinov2(layout: Layout) -> bool {
    matches!(layout, Layout::HfDinov2 | Layout::HfDinov2WithRegisters)
}

/// Classifier and projection, from the name of the class or else from the tensors.
fn class(
    top: &Keys<'_>,
    layout: Layout,
    has: &dyn Fn(&str) -> bool,
) -> Result<(Option<HeadKind>, bool)> {
    let head = if is_dinov2(layout) { HeadKind::ClsAndPatchMean } else { HeadKind::Pooled };
    let Some(names) = top.get("architectures") else {
        let head = (layout != Layout::HfClip && has("classifier.weight")).then_some(head);
        return Ok((head, has("visual_projection.weight")));
    };
    let name = match names.as_array().map(Vec::as_slice) {
        Some([name]) => name.as_str().unwrap_or_default(),
        _ => return Err(top.unsupported("architectures", "a list of one class name is expected")),
    };
    match (layout, name) {
        (Layout::HfClip, "CLIPModel" | "CLIPVisionModelWithProjection") => Ok((None, true)),
        (Layout::HfClip, "CLIPVisionModel")
        | (Layout::HfVit, "ViTModel")
        | (Layout::HfDinov2, "Dinov2Model")
        | (Layout::HfDinov2WithRegisters, "Dinov2WithRegistersModel") => Ok((None, false)),
        (Layout::HfVit, "ViTForImageClassification")
        | (Layout::HfDinov2, "Dinov2ForImageClassification")
        | (Layout::HfDinov2WithRegisters, "Dinov2WithRegistersForImageClassification") => {
            Ok((Some(head), false))
        }
        _ => {
            let wanted = "supported are CLIPModel, CLIPVisionModel, CLIPVisionModelWithProjection, and \
                          the Model and ForImageClassification classes of ViT, Dinov2 and \
                          Dinov2WithRegisters";
            Err(top.unsupported("architectures", wanted))
        }
    }
}

/// Class names in the order of their numbers; none if they are placeholders.
fn id2label(top: &Keys<'_>) -> Result<Option<Vec<String>>> {
    let Some(table) = top.table("id2label")? else { return Ok(None) };
    let count = table.keys().count();
    let mut names = Vec::with_capacity(count);
    for index in 0..count {
        let key = index.to_string();
        let name = table.text(&key)?.ok_or_else(|| {
            top.bad("id2label", format!("has {count} entries but no \"{key}\"; number them from 0"))
        })?;
        names.push(name.to_owned());
    }
    let made_up = names.iter().enumerate().all(|(i, name)| *name == format!("LABEL_{i}"));
    Ok((!made_up).then_some(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(layout: Layout, json: &str, tensors: &[&str]) -> std::result::Result<Parsed, String> {
        let map = serde_json::from_str(json).unwrap();
        let has = |name: &str| tensors.contains(&name);
        parse(Path::new("config.json"), &map, layout, &has).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let facts = |layout, json: &str| {
            let c = read(layout, json, &[]).unwrap().config;
            (c.patch_size, c.mlp, c.norm_eps, c.registers, c.parameters())
        };
        let clip = facts(Layout::HfClip, r#"{"model_type": "clip"}"#);
        assert_eq!(clip, (32, MlpKind::QuickGelu, 1e-5, 0, 87_456_000));
        let vit = facts(Layout::HfVit, r#"{"model_type": "vit"}"#);
        assert_eq!(vit, (16, MlpKind::Gelu, 1e-12, 0, 85_798_656));
        let dinov2 = facts(Layout::HfDinov2, r#"{"model_type": "dinov2", "image_size": 518}"#);
        assert_eq!(dinov2, (14, MlpKind::Gelu, 1e-6, 0, 86_579_712));
        let reg = facts(Layout::HfDinov2WithRegisters, "{}");
        assert_eq!((reg.0, reg.3), (16, 4));
    }

    #[test]
    fn swiglu_width_and_position_rules() {
        let json = r#"{"hidden_size": 1536, "num_attention_heads": 24, "use_swiglu_ffn": true}"#;
        let config = read(Layout::HfDinov2, json, &[]).unwrap().config;
        assert_eq!((config.mlp, config.mlp_hidden), (MlpKind::SwiGlu, 4096));
        assert_eq!(config.pos_resample, PosResample::HfBicubic);
        let config = read(Layout::HfDinov2WithRegisters, json, &[]).unwrap().config;
        assert_eq!(config.pos_resample, PosResample::TimmAntialias);
    }

    #[test]
    fn absurd_numbers_are_carried_to_the_check() {
        let json = r#"{"hidden_size": 1e14, "mlp_ratio": 1e300, "use_swiglu_ffn": true,
                       "num_register_tokens": 18446744073709551615}"#;
        let config = read(Layout::HfDinov2WithRegisters, json, &[]).unwrap().config;
        assert!(config.check(Path::new("config.json")).is_err());
    }

    #[test]
    fn classes_and_projections() {
        let of = |layout, json: &str, tensors: &[&str]| {
            let parsed = read(layout, json, tensors).unwrap();
            (parsed.config.head, parsed.config.projection_dim, parsed.class_names)
        };
        let nested = r#"{"model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": 640,
                         "vision_config": {"projection_dim": 512}}"#;
        assert_eq!(of(Layout::HfClip, nested, &[]), (None, Some(640), None));
        let vision =
            r#"{"architectures": ["CLIPVisionModelWithProjection"], "projection_dim": 12}"#;
        assert_eq!(of(Layout::HfClip, vision, &[]), (None, Some(12), None));
        let vision = r#"{"architectures": ["CLIPVisionModel"]}"#;
        assert_eq!(of(Layout::HfClip, vision, &["visual_projection.weight"]), (None, None, None));
        assert_eq!(of(Layout::HfClip, "{}", &["visual_projection.weight"]).1, Some(512));
        let vit =
            r#"{"architectures": ["ViTForImageClassification"], "id2label": {"1": "b", "0": "a"}}"#;
        let names = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(of(Layout::HfVit, vit, &[]), (Some(HeadKind::Pooled), None, names));
        let unnamed = r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#;
        let head = Some(HeadKind::ClsAndPatchMean);
        assert_eq!(of(Layout::HfDinov2, unnamed, &["classifier.weight"]), (head, None, None));
        assert_eq!(of(Layout::HfDinov2, unnamed, &[]), (None, None, None));
    }

    #[test]
    fn what_cannot_be_computed_is_refused_by_name() {
        for (json, says) in [
            (r#"{"hidden_act": "gelu_new"}"#, "`hidden_act` is \"gelu_new\""),
            (r#"{"num_channels": 1}"#, "`num_channels` is 1; only 3"),
            (r#"{"architectures": ["ViTForMaskedImageModeling"]}"#, "`architectures` is"),
            (r#"{"patch_size": [16, 8]}"#, "only squares"),
            (
                r#"{"architectures": ["ViTForImageClassification"], "id2label": {"0": "a", "2": "b"}}"#,
                "`id2label` has 2 entries but no \"1\"",
            ),
        ] {
            let error = read(Layout::HfVit, json, &[]).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let json = r#"{"model_type": "clip", "vision_config": {"hidden_act": "relu"}}"#;
        let error = read(Layout::HfClip, json, &[]).unwrap_err();
        assert!(error.contains("`vision_config.hidden_act` is \"relu\""), "{error}");
    }
}
