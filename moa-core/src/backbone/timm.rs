//! `config.json` of timm: an architecture's name, and what was changed about it.

use std::path::Path;

use serde_json::{Map, Value};

use super::config::VitConfig;
use super::error::Result;
use super::json::Keys;
use super::kinds::{HeadKind, MlpKind, Pool};
use super::parsed::{FactKeys, Parsed};
use super::pos_embed::PosResample;
use super::timm_archs::{ARCHS, Arch};
use super::timm_preprocess::preprocess;
use crate::suggest::nearest;

static KEYS: FactKeys = FactKeys {
    image_size: "model_args.img_size (or pretrained_cfg.input_size)",
    patch_size: "model_args.patch_size (or the default of `architecture`)",
    dim: "model_args.embed_dim (or the default of `architecture`)",
    depth: "model_args.depth (or the default of `architecture`)",
    mlp_hidden: "model_args.mlp_ratio (or the default of `architecture`) * width",
    registers: "model_args.reg_tokens (or the default of `architecture`)",
    qkv_bias: "model_args.qkv_bias (or the default of `architecture`)",
    patch_bias: "not model_args.pre_norm (or the default of `architecture`)",
    pre_norm: "model_args.pre_norm (or the default of `architecture`)",
    layer_scale: "model_args.init_values (or the default of `architecture`)",
};

/// Arguments of a model that change nothing about a trained one.
const WITHOUT_EFFECT: &[&str] = &[
    "attn_drop_rate",
    "drop_path_rate",
    "drop_rate",
    "dynamic_img_pad",
    "dynamic_img_size",
    "fix_init",
    "patch_drop_rate",
    "pos_drop_rate",
    "proj_drop_rate",
    "strict_img_size",
    "weight_init",
];

/// Reads the configuration.
///
/// # Errors
/// Names the key that is malformed or asks for something else than can be computed.
pub(super) fn parse(file: &Path, map: &Map<String, Value>) -> Result<Parsed> {
    let top = Keys::new(file, map);
    // In old files everything is in the outermost object.
    let pretrained = top.table("pretrained_cfg")?.unwrap_or_else(|| top.clone());
    let arch = architecture(&top)?;
    let empty = Map::new();
    let args = top.table("model_args")?.unwrap_or_else(|| Keys::new(file, &empty));
    let Arch(_, image, patch, size, family) = *arch;

    for key in args.keys() {
        match key {
            "qk_norm" | "scale_attn_norm" | "scale_mlp_norm" | "pool_include_prefix" => {
                args.must(key, false)?;
            }
            "class_token" | "proj_bias" | "final_norm" => args.must(key, true)?,
            "pos_embed" => args.must(key, "learn")?,
            "in_chans" => args.must(key, 3)?,
            "img_size" | "patch_size" | "embed_dim" | "depth" | "num_heads" | "mlp_ratio"
            | "qkv_bias" | "init_values" | "reg_tokens" | "no_embed_class" | "pre_norm"
            | "fc_norm" | "global_pool" | "num_classes" => {}
            key if WITHOUT_EFFECT.contains(&key) => {}
            key => return Err(args.bad(key, "is not known here; its effect cannot be computed")),
        }
    }
    let input = pretrained.get("input_size").and_then(Value::as_array).and_then(|size| {
        let [_, h, w] = size.as_slice() else { return None };
        Some((h.as_u64()? as usize, w.as_u64()? as usize))
    });
    let image_size = args.pair("img_size")?.or(input).unwrap_or((image, image));
    let dim = args.count("embed_dim")?.unwrap_or(size.dim);
    let ratio = args.number("mlp_ratio")?.unwrap_or(size.mlp_ratio);
    let fc1 = (dim as f64 * ratio) as usize;
    let pre_norm = args.flag("pre_norm")?.unwrap_or(family.pre_norm);
    let registers = args.count("reg_tokens")?.unwrap_or(family.registers);
    let no_embed_class = args.flag("no_embed_class")?.unwrap_or(family.no_embed_class);
    let classes = match (args.count("num_classes")?, top.count("num_classes")?) {
        (Some(classes), _) | (None, Some(classes)) => Some(classes),
        (None, None) => pretrained.count("num_classes")?,
    };
    let config = VitConfig {
        image_size,
        patch_size: args.square("patch_size")?.unwrap_or(patch),
        dim,
        depth: args.count("depth")?.unwrap_or(size.depth),
        heads: args.count("num_heads")?.unwrap_or(size.heads),
        mlp_hidden: if family.mlp == MlpKind::SwiGlu { fc1 / 2 } else { fc1 },
        mlp: family.mlp,
        norm_eps: family.norm_eps,
        pre_norm,
        patch_bias: !pre_norm,
        qkv_bias: args.flag("qkv_bias")?.unwrap_or(family.qkv_bias),
        // An initial value of 0 means none.
        layer_scale: args.number("init_values")?.map_or(family.layer_scale, |v| v != 0.0),
        registers,
        pos_embed_prefix: if no_embed_class { 0 } else { registers.saturating_add(1) },
        pool: pool(&top, &args, family.averaged)?,
        pos_resample: PosResample::TimmAntialias,
        head: classes.is_some_and(|count| count > 0).then_some(HeadKind::Pooled),
        projection_dim: None,
    };
    let class_names = match label_names(&top, classes)? {
        None => label_names(&pretrained, classes)?,
        names => names,
    };
    let preprocess = Some(preprocess(&pretrained, &args, image_size)?);
    Ok(Parsed { config, preprocess, classes, class_names, keys: &KEYS })
}

fn architecture(top: &Keys<'_>) -> Result<&'static Arch> {
    let name = top.text("architecture")?.unwrap_or_default();
    // `vit_base_patch16_224.augreg_in21k`: the tag names weights, not the model.
    let name = name.split('.').next().unwrap_or_default();
    ARCHS.iter().find(|arch| arch.0 == name).ok_or_else(|| {
        let names: Vec<&str> = ARCHS.iter().map(|arch| arch.0).collect();
        let near = nearest(name, names.iter());
        let near = near.map(|near| format!("; the nearest one is {near}")).unwrap_or_default();
        let wanted = "plain vision transformers with a class token can be computed here \
                      (ViT, DeiT, CLIP, DINOv2)";
        top.unsupported("architecture", &format!("{wanted}{near}"))
    })
}

/// The pooling of the checkpoint, or the architecture's own.
fn pool(top: &Keys<'_>, args: &Keys<'_>, averaged: bool) -> Result<Pool> {
    let keys = if args.get("global_pool").is_some() { args } else { top };
    let pool = match keys.text("global_pool")? {
        Some("token") => Pool::Cls,
        Some("avg") => Pool::Avg,
        None if averaged => Pool::Avg,
        None => Pool::Cls,
        Some(_) => {
            return Err(
                keys.unsupported("global_pool", "\"token\" and \"avg\" can be computed here")
            );
        }
    };
    // A norm after average pooling and before the class token is taken.
    args.must("fc_norm", pool == Pool::Avg)?;
    Ok(pool)
}

/// Class names as a list, or by their number.
fn label_names(keys: &Keys<'_>, classes: Option<usize>) -> Result<Option<Vec<String>>> {
    let key = if keys.get("label_names").is_some() { "label_names" } else { "labels" };
    let text = |value: &Value| value.as_str().map(String::from);
    let names: Option<Vec<String>> = match keys.get(key) {
        None => return Ok(None),
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        Some(Value::Object(map)) => {
            (0..map.len()).map(|n| map.get(&n.to_string()).and_then(text)).collect()
        }
        Some(_) => None,
    };
    match names {
        Some(names) if classes.is_none_or(|classes| classes == names.len()) => Ok(Some(names)),
        Some(names) => {
            let classes = classes.unwrap_or_default();
            Err(keys.bad(key, format!("holds {} names for {classes} classes", names.len())))
        }
        None => {
            Err(keys
                .bad(key, "must be a list of names, or an object from \"0\", \"1\", ... to names"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> std::result::Result<Parsed, String> {
        let map = serde_json::from_str(json).unwrap();
        parse(Path::new("config.json"), &map).map_err(|error| error.to_string())
    }

    /// From `sum(p.numel() for p in timm.create_model(name, num_classes=0).parameters())`.
    #[test]
    fn parameter_counts_of_timm() {
        for (name, count) in [
            ("deit3_small_patch16_384", 22_205_416 - 385_000),
            ("deit_tiny_patch16_224", 5_717_416 - 193_000),
            ("eva_large_patch14_196", 304_142_312 - 1_025_000),
            ("flexivit_base", 86_589_160 - 769_000),
            ("test_vit", 371_240 - 65_000),
            ("vit_base_patch14_dinov2", 86_579_712),
            ("vit_base_patch14_reg4_dinov2", 86_582_016),
            ("vit_base_patch16_224_miil", 94_399_957 - 8_628_949),
            ("vit_base_patch16_clip_224", 86_568_424 - 769_000),
            ("vit_giant_patch14_reg4_dinov2", 1_136_483_840),
            ("vit_gigantic_patch14_clip_378", 1_845_695_616 - 2_131_200),
            ("vit_huge_patch14_clip_quickgelu_224", 632_077_824 - 1_311_744),
            ("vit_small_patch16_36x1_224", 64_665_448 - 385_000),
            ("vit_so400m_patch14_reg1_tipsv2", 413_391_600),
            ("vit_xsmall_patch16_clip_224", 8_277_504 - 131_584),
        ] {
            let parsed =
                read(&format!(r#"{{"architecture": "{name}", "num_classes": 0}}"#)).unwrap();
            assert_eq!(parsed.config.parameters(), count, "{name}");
            parsed.config.check(Path::new(name)).unwrap();
        }
    }

    #[test]
    fn every_architecture_is_possible() {
        for pair in ARCHS.windows(2) {
            assert_ne!(pair[0].0, pair[1].0);
        }
        for arch in ARCHS {
            let parsed = read(&format!(r#"{{"architecture": "{}"}}"#, arch.0)).unwrap();
            parsed.config.check(Path::new(arch.0)).unwrap();
            parsed.preprocess.unwrap().check().unwrap();
        }
    }

    #[test]
    fn old_files_are_flat() {
        let parsed = read(
            r#"{"architecture": "vit_base_patch16_224.augreg_in1k", "num_classes": 2, "labels": ["cat", "dog"],
                "input_size": [3, 384, 384], "mean": [0.5, 0.5, 0.5], "crop_pct": 1.0, "num_features": 768}"#,
        )
        .unwrap();
        assert_eq!(parsed.config.image_size, (384, 384));
        assert_eq!(parsed.config.head, Some(HeadKind::Pooled));
        assert_eq!(parsed.class_names, Some(vec!["cat".into(), "dog".into()]));
        let preprocess = parsed.preprocess.unwrap();
        assert_eq!((preprocess.height, preprocess.mean), (384, [0.5; 3]));
    }

    #[test]
    fn what_cannot_be_computed_is_refused_by_name() {
        let refused = |args: &str| {
            let text =
                format!(r#"{{"architecture": "vit_base_patch16_224", "model_args": {{{args}}}}}"#);
            read(&text).unwrap_err()
        };
        for (args, says) in [
            (r#""qk_norm": true"#, "`model_args.qk_norm` is true; only false"),
            (r#""class_token": false"#, "`model_args.class_token` is false; only true"),
            (r#""global_pool": "map""#, "`model_args.global_pool` is \"map\""),
            (r#""act_layer": "relu""#, "`model_args.act_layer` is not known here"),
            (r#""in_chans": 1"#, "`model_args.in_chans` is 1; only 3"),
            (r#""fc_norm": true"#, "`model_args.fc_norm` is true; only false"),
            (r#""patch_size": [16, 8]"#, "`model_args.patch_size` is [16,8]; only squares"),
            (r#""depth": "twelve""#, "`model_args.depth` is \"twelve\"; a whole number"),
        ] {
            let error = refused(args);
            assert!(error.contains(says), "{error}");
        }
        let error = read(r#"{"architecture": "vit_base_patch16_225"}"#).unwrap_err();
        assert!(error.contains("the nearest one is vit_base_patch16_224"), "{error}");
        let error = read(r#"{"architecture": "convnext_base"}"#).unwrap_err();
        assert!(
            error.contains("`architecture` is \"convnext_base\"") && !error.contains("nearest")
        );
        let error = read(
            r#"{"architecture": "vit_base_patch16_224", "num_classes": 3, "label_names": ["a"]}"#,
        );
        assert!(error.unwrap_err().contains("`label_names` holds 1 names for 3 classes"));
    }
}
