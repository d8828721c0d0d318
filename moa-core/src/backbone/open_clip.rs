//! `open_clip_config.json`: the vision tower of an open_clip model.

use std::path::Path;

use serde_json::{Map, Value};

use super::config::VitConfig;
use super::error::Result;
use super::json::Keys;
use super::kinds::{MlpKind, Pool};
use super::parsed::{FactKeys, Parsed};
use super::pos_embed::PosResample;
use crate::image::{Interpolation, Preprocess, ResizeRule};

static KEYS: FactKeys = FactKeys {
    image_size: "model_cfg.vision_cfg.image_size",
    patch_size: "model_cfg.vision_cfg.patch_size",
    dim: "model_cfg.vision_cfg.width",
    depth: "model_cfg.vision_cfg.layers",
    mlp_hidden: "model_cfg.vision_cfg.mlp_ratio * width",
    registers: "registers of open_clip models",
    qkv_bias: "biases of open_clip models",
    patch_bias: "patch bias of open_clip models",
    pre_norm: "not model_cfg.vision_cfg.no_ln_pre",
    layer_scale: "model_cfg.vision_cfg.ls_init_value",
};

/// Keys of `vision_cfg` that must be absent or false.
const MUST_BE_OFF: &[&str] = &[
    "attentional_pool",
    "input_patchnorm",
    "qk_norm",
    "scale_attn",
    "scale_attn_inner",
    "scale_fc",
    "scale_heads",
    "scaled_cosine_attn",
];

/// Keys of `vision_cfg` that are read, or that change nothing about a trained model.
const KNOWN: &[&str] = &[
    "attn_pooler_heads",
    "attn_pooler_queries",
    "block_type",
    "final_ln_after_pool", // normalising before or after taking one token is the same
    "head_width",
    "image_size",
    "layers",
    "ls_init_value",
    "mlp_ratio",
    "no_ln_pre",
    "norm_kwargs",
    "output_tokens",
    "patch_dropout",
    "patch_size",
    "pool_type",
    "pos_embed_type", // the table is among the weights either way
    "timm_drop",
    "timm_drop_path",
    "timm_model_pretrained",
    "timm_pool",
    "timm_proj",
    "timm_proj_bias",
    "width",
];

/// Channel means of OpenAI's CLIP, the default of open_clip and transformers' CLIP.
pub(super) const CLIP_MEAN: [f32; 3] = [0.48145466, 0.4578275, 0.40821073];
/// See [`CLIP_MEAN`].
pub(super) const CLIP_STD: [f32; 3] = [0.26862954, 0.261_302_6, 0.275_777_1];

/// Reads the configuration; absent keys have the defaults of `CLIPVisionCfg`.
///
/// # Errors
/// Names the key that is malformed or asks for something else than can be computed.
pub(super) fn parse(file: &Path, map: &Map<String, Value>) -> Result<Parsed> {
    let top = Keys::new(file, map);
    let missing = |keys: &Keys<'_>, key| keys.bad(key, "is missing; fetch the file again");
    let model = top.table("model_cfg")?.ok_or_else(|| missing(&top, "model_cfg"))?;
    let vision = model.table("vision_cfg")?.ok_or_else(|| missing(&model, "vision_cfg"))?;
    if vision.get("timm_model_name").is_some() {
        let wanted = "towers from timm are not supported; use the timm repository of this model";
        return Err(vision.unsupported("timm_model_name", wanted));
    }
    if vision.get("layers").is_some_and(Value::is_array) {
        return Err(
            vision.unsupported("layers", "a ResNet, only vision transformers are supported")
        );
    }
    for key in vision.keys() {
        if MUST_BE_OFF.contains(&key) {
            vision.must(key, false)?;
        } else if !KNOWN.contains(&key) {
            return Err(vision.bad(key, "is not known here; its effect cannot be computed"));
        }
    }
    vision.must("pool_type", "tok")?;
    vision.must("block_type", "default")?;
    let mut norm_eps = 1e-5;
    if let Some(norm) = vision.table("norm_kwargs")? {
        if let Some(key) = norm.keys().find(|&key| key != "eps") {
            return Err(norm.bad(key, "is not known here; only eps is"));
        }
        norm_eps = norm.number("eps")?.unwrap_or(norm_eps);
    }
    let width = vision.count("width")?.unwrap_or(768);
    let ratio = vision.number("mlp_ratio")?.unwrap_or(4.0);
    let head_width = vision.count("head_width")?.unwrap_or(64);
    let quick = model.flag("quick_gelu")?.unwrap_or(false);
    let image_size = vision.pair("image_size")?.unwrap_or((224, 224));
    let config = VitConfig {
        image_size,
        patch_size: vision.square("patch_size")?.unwrap_or(16),
        dim: width,
        depth: vision.count("layers")?.unwrap_or(12),
        heads: width.checked_div(head_width).unwrap_or(0),
        mlp_hidden: (width as f64 * ratio) as usize,
        mlp: if quick { MlpKind::QuickGelu } else { MlpKind::Gelu },
        norm_eps,
        pre_norm: !vision.flag("no_ln_pre")?.unwrap_or(false),
        patch_bias: false,
        qkv_bias: true,
        layer_scale: vision.number("ls_init_value")?.is_some(),
        registers: 0,
        pos_embed_prefix: 1,
        pool: Pool::Cls,
        pos_resample: PosResample::TimmAntialias,
        head: None,
        projection_dim: Some(
            model.count("embed_dim")?.ok_or_else(|| missing(&model, "embed_dim"))?,
        ),
    };
    let empty = Map::new();
    let settings = top.table("preprocess_cfg")?.unwrap_or_else(|| Keys::new(file, &empty));
    let preprocess = Some(preprocess(&settings, image_size)?);
    Ok(Parsed { config, preprocess, classes: None, class_names: None, keys: &KEYS })
}

/// `open_clip.image_transform`. The size of the input is that of the model.
fn preprocess(keys: &Keys<'_>, (height, width): (usize, usize)) -> Result<Preprocess> {
    keys.must("mode", "RGB")?;
    let mut interpolation = match keys.text("interpolation")? {
        Some("bilinear") => Interpolation::Bilinear,
        // `random` is for training.
        None | Some("bicubic" | "random") => Interpolation::Bicubic,
        Some(_) => {
            return Err(
                keys.unsupported("interpolation", "\"bicubic\" and \"bilinear\" are supported")
            );
        }
    };
    let resize = match keys.text("resize_mode")? {
        None | Some("shortest") if height == width => ResizeRule::ShortestEdge(height),
        None | Some("shortest") => {
            // Its `ResizeKeepRatio` covers both sides, and is always bicubic.
            interpolation = Interpolation::Bicubic;
            ResizeRule::CropPct(1.0)
        }
        Some("squash") => ResizeRule::Squash,
        Some(_) => {
            return Err(
                keys.unsupported("resize_mode", "\"shortest\" and \"squash\" are supported")
            );
        }
    };
    Ok(Preprocess {
        height,
        width,
        resize,
        interpolation,
        mean: keys.channels("mean")?.unwrap_or(CLIP_MEAN),
        std: keys.channels("std")?.unwrap_or(CLIP_STD),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vision: &str, model: &str, preprocess: &str) -> std::result::Result<Parsed, String> {
        let text = format!(
            r#"{{"model_cfg": {{"embed_dim": 512, "vision_cfg": {{{vision}}} {model}}} {preprocess}}}"#
        );
        let map = serde_json::from_str(&text).unwrap();
        parse(Path::new("open_clip_config.json"), &map).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let parsed = read("", "", "").unwrap();
        let config = &parsed.config;
        assert_eq!(
            (config.dim, config.depth, config.heads, config.mlp_hidden),
            (768, 12, 12, 3072)
        );
        assert_eq!((config.patch_size, config.norm_eps, config.mlp), (16, 1e-5, MlpKind::Gelu));
        assert_eq!((config.parameters(), config.projection_dim), (85_799_424, Some(512)));
        let preprocess = parsed.preprocess.unwrap();
        assert_eq!(
            (preprocess.resize, preprocess.mean),
            (ResizeRule::ShortestEdge(224), CLIP_MEAN)
        );
    }

    #[test]
    fn variants() {
        let vision = r#""layers": 24, "width": 1024, "head_width": 64, "patch_size": 14, "norm_kwargs":
                        {"eps": 1e-6}, "ls_init_value": 0.1, "no_ln_pre": true"#;
        let preprocess =
            r#", "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "resize_mode": "squash"}"#;
        let parsed = read(vision, r#", "quick_gelu": true"#, preprocess).unwrap();
        let config = &parsed.config;
        assert_eq!((config.heads, config.norm_eps, config.mlp), (16, 1e-6, MlpKind::QuickGelu));
        assert!(config.layer_scale && !config.pre_norm && !config.patch_bias);
        let preprocess = parsed.preprocess.unwrap();
        assert_eq!((preprocess.mean, preprocess.resize), ([0.5; 3], ResizeRule::Squash));
        let oblong = read(r#""image_size": [224, 160]"#, "", "").unwrap().preprocess.unwrap();
        assert_eq!(oblong.resize, ResizeRule::CropPct(1.0));
        assert_eq!((oblong.height, oblong.width), (224, 160));
    }

    #[test]
    fn what_cannot_be_computed_is_refused_by_name() {
        for (vision, says) in [
            (r#""timm_model_name": "vit_base_patch16_siglip_224""#, "vision_cfg.timm_model_name"),
            (r#""layers": [3, 4, 6, 3]"#, "a ResNet"),
            (r#""attentional_pool": "parallel""#, "vision_cfg.attentional_pool"),
            (r#""pool_type": "avg""#, "only \"tok\""),
            (r#""qk_norm": true"#, "vision_cfg.qk_norm"),
            (
                r#""act_kwargs": {"approximate": "tanh"}"#,
                "`model_cfg.vision_cfg.act_kwargs` is not known",
            ),
            (r#""rope": true"#, "`model_cfg.vision_cfg.rope` is not known"),
            (r#""norm_kwargs": {"elementwise_affine": false}"#, "norm_kwargs.elementwise_affine"),
        ] {
            let error = read(vision, "", "").unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let error = read("", "", r#", "preprocess_cfg": {"resize_mode": "longest"}"#).unwrap_err();
        assert!(error.contains("`preprocess_cfg.resize_mode` is \"longest\""), "{error}");
        let map = serde_json::from_str(r#"{"vision_cfg": {}}"#).unwrap();
        let error = parse(Path::new("c.json"), &map).unwrap_err().to_string();
        assert!(error.contains("`model_cfg` is missing"), "{error}");
    }
}
