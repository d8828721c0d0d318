//! `adapter_config.json` of PEFT.

use super::targets::{Pattern, Targets};
use crate::backbone::{BackboneError, Keys, Texts};
use crate::error::Result;
use serde_json::{Map, Value};
use std::path::Path;

/// Kinds of adapters that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeftKind {
    /// `B A`, and DoRA.
    Lora,
    /// An entrywise product of two low-rank matrices.
    Loha,
    /// A Kronecker product.
    Lokr,
}

/// Which biases of the model the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Biases {
    None,
    Adapted,
    All,
}

/// What of the configuration matters for the result.
#[derive(Clone, Debug)]
pub struct PeftConfig {
    /// `peft_type`
    pub kind: PeftKind,
    /// `base_model_name_or_path`, with `@` and the `revision` if there is one.
    pub base_model: Option<String>,
    /// `r`, unless `rank_pattern` says otherwise
    pub r: usize,
    /// `lora_alpha` or `alpha`, unless `alpha_pattern` says otherwise
    pub alpha: f64,
    /// The variants that are on: `rslora`, `dora`, `lora_bias`.
    pub variants: Vec<&'static str>,
    pub(super) rank_pattern: Vec<(Pattern, f64)>,
    pub(super) alpha_pattern: Vec<(Pattern, f64)>,
    pub(super) targets: Targets,
    pub(super) biases: Biases,
}

/// Keys that say how the adapter was trained, or for layers that no vision
/// transformer has (`fan_in_fan_out`: GPT-2's `Conv1D`).
const NO_EFFECT: &[&str] = &[
    "auto_mapping",
    "corda_config",
    "decompose_both",
    "decompose_factor",
    "ensure_weight_tying",
    "eva_config",
    "fan_in_fan_out",
    "inference_mode",
    "init_weights",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "module_dropout",
    "peft_version",
    "qalora_group_size",
    "rank_dropout",
    "rank_dropout_scale",
    "runtime_config",
    "task_type",
    "use_effective_conv2d",
];

/// No layer is as wide.
const MAX_RANK: f64 = (1 << 20) as f64;

/// Keys that [`parse`] reads.
const READ: &[&str] = &[
    "alpha",
    "alpha_pattern",
    "base_model_name_or_path",
    "bias",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_bias",
    "modules_to_save",
    "peft_type",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "use_dora",
    "use_rslora",
];

fn base_model(keys: &Keys<'_>) -> Result<Option<String>> {
    let name = keys.text("base_model_name_or_path")?.filter(|name| !name.is_empty());
    let revision = keys.text("revision")?.filter(|revision| !revision.is_empty());
    Ok(name.map(|name| match revision {
        Some(revision) if !Path::new(name).exists() => format!("{name}@{revision}"),
        _ => name.to_owned(),
    }))
}

/// Reads the configuration; absent keys have PEFT's defaults.
///
/// # Errors
/// Names the key that is malformed, or asks for something that is not computed here.
pub(super) fn parse(file: &Path, map: &Map<String, Value>) -> Result<PeftConfig> {
    let keys = Keys::new(file, map);
    let kind = match keys.text("peft_type")? {
        Some("LORA") => PeftKind::Lora,
        Some("LOHA") => PeftKind::Loha,
        Some("LOKR") => PeftKind::Lokr,
        _ => return Err(keys.unsupported("peft_type", "LORA, LOHA and LOKR are read").into()),
    };
    let lora = kind == PeftKind::Lora;
    let off = |value: &Value| match value {
        Value::Bool(on) => !on,
        Value::Array(list) => list.is_empty(),
        Value::Object(table) => table.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    let known = |key: &&str| READ.contains(key) || NO_EFFECT.contains(key);
    let strange = keys.keys().filter(|key| !known(key));
    if let Some(key) = strange.into_iter().find(|key| keys.get(key).is_some_and(|v| !off(v))) {
        return Err(keys.unsupported(key, "its effect cannot be computed here").into());
    }
    if let Some(Value::String(start)) = keys.get("init_lora_weights")
        && !["true", "false", "gaussian", "orthogonal", "eva"].contains(&&*start.to_lowercase())
    {
        let wanted = "it changes the backbone; save with path_initial_model_for_weight_conversion";
        return Err(keys.unsupported("init_lora_weights", wanted).into());
    }
    let biases = match keys.text("bias")? {
        None | Some("none") => Biases::None,
        Some("all") => Biases::All,
        Some("lora_only") if lora => Biases::Adapted,
        _ => return Err(keys.unsupported("bias", "none, all or lora_only is expected").into()),
    };
    let mut variants = Vec::new();
    for (key, name) in [("use_rslora", "rslora"), ("use_dora", "dora"), ("lora_bias", "lora_bias")]
    {
        if lora && keys.flag(key)?.unwrap_or(false) {
            variants.push(name);
        }
    }
    let alpha = if lora { "lora_alpha" } else { "alpha" };
    let modules_to_save = match keys.texts("modules_to_save")? {
        None => Vec::new(),
        Some(Texts::One(name)) => vec![name],
        Some(Texts::Many(names)) => names,
    };
    let config = PeftConfig {
        kind,
        base_model: base_model(&keys)?,
        r: keys.count("r")?.unwrap_or(8),
        alpha: keys.number(alpha)?.unwrap_or(8.0),
        variants,
        rank_pattern: patterns(&keys, "rank_pattern")?,
        alpha_pattern: patterns(&keys, "alpha_pattern")?,
        targets: Targets::parse(&keys, &modules_to_save)?,
        biases,
    };
    let ranks = config.rank_pattern.iter().map(|(_, r)| *r).chain([config.r as f64]);
    if ranks.into_iter().any(|r| !(1.0..=MAX_RANK).contains(&r) || r.fract() != 0.0) {
        return Err(keys.bad("r", "and `rank_pattern` must hold whole numbers from 1").into());
    }
    Ok(config)
}

/// `rank_pattern` or `alpha_pattern`, in order: the first that matches counts.
fn patterns(keys: &Keys<'_>, key: &str) -> Result<Vec<(Pattern, f64)>> {
    let Some(table) = keys.table(key)? else { return Ok(Vec::new()) };
    let entry = |text: &str| -> std::result::Result<_, BackboneError> {
        let value = table.number(text)?.unwrap_or_default();
        let pattern = Pattern::new(&format!(r"^(.*\.)?({text})$"));
        Ok((pattern.map_err(|reason| keys.bad(key, reason))?, value))
    };
    Ok(table.keys().map(entry).collect::<std::result::Result<_, _>>()?)
}

impl PeftConfig {
    pub(super) fn has(&self, variant: &str) -> bool {
        self.variants.contains(&variant)
    }

    /// Rank and scale of the layer `path`.
    pub(super) fn rank_and_scale(&self, path: &str) -> (usize, f64) {
        let of = |patterns: &[(Pattern, f64)]| {
            patterns.iter().find(|(pattern, _)| pattern.matches(path)).map(|(_, value)| *value)
        };
        let r = of(&self.rank_pattern).map_or(self.r, |r| r as usize);
        let alpha = of(&self.alpha_pattern).unwrap_or(self.alpha);
        let over = if self.has("rslora") { (r as f64).sqrt() } else { r as f64 };
        (r, alpha / over)
    }
}
