//! `config.toml` of a run.

use super::Config;
use super::layers::Sources;
use anyhow::{Context, Result};
use std::path::Path;

/// The configuration as TOML, each value with where it came from.
///
/// # Errors
/// If it cannot be written.
pub fn to_text(config: &Config, sources: &Sources) -> Result<String> {
    let plain = toml::to_string(config).context("the configuration cannot be written")?;
    let mut table = String::new();
    let mut text = String::new();
    for line in plain.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            table = name.to_string();
        }
        let key = format!("{table}.{}", line.split('=').next().unwrap_or_default().trim());
        text.push_str(line);
        if let Some(source) = sources.get(&key) {
            text.push_str(&format!("  # {}", source.replace(char::is_control, " ")));
        }
        text.push('\n');
    }
    Ok(text)
}

/// The backbone that a run began with.
pub fn backbone(saved: &Path) -> Option<String> {
    let table: toml::Table = std::fs::read_to_string(saved).ok()?.parse().ok()?;
    Some(table.get("backbone")?.get("spec")?.as_str()?.to_owned())
}

/// What may change: nothing of it changes a bit of the result.
const FREE: &[&str] = &[
    "backbone.spec",
    "data.root",
    "data.workers",
    "train.checkpoint_activations",
    "train.device",
    "eval.batch",
    "eval.cache_features",
    "eval.cache_limit",
];

/// A resumed run must be the same run. Where things are and how often they are
/// saved may change.
///
/// # Errors
/// The first key that has another value.
pub fn require_same(saved: &Path, config: &Config) -> Result<()> {
    let text = std::fs::read_to_string(saved).with_context(|| saved.display().to_string())?;
    let old: toml::Table = text.parse().with_context(|| saved.display().to_string())?;
    let new = toml::Table::try_from(config)?;
    for (table, values) in &new {
        let Some(values) = values.as_table() else { continue };
        for (key, value) in values {
            let name = format!("{table}.{key}");
            if FREE.contains(&name.as_str()) || table == "checkpoint" {
                continue;
            }
            // A key that is younger than the run had its default's effect.
            let of = |t: &toml::Table| t.get(table).and_then(|t| t.get(key)).cloned();
            let before = of(&old).or_else(|| of(&super::keys::defaults()));
            anyhow::ensure!(
                before.as_ref() == Some(value),
                "{name} was {} and is now {value}: a resumed run keeps its configuration",
                before.map_or("not set".into(), |value| value.to_string())
            );
        }
    }
    Ok(())
}
