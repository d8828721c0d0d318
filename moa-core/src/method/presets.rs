//! The methods that ship with moa. `paper/...` hold the paper's values and stay
//! as they are; the plain names are ours.

use super::Method;
use crate::error::{Error, Result};
use crate::suggest::nearest;

macro_rules! presets {
    ($($name:literal),* $(,)?) => {
        /// Name and TOML of every preset.
        const PRESETS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("presets/", $name, ".toml")))),*];
    };
}

presets![
    "linear-probe",
    "bias",
    "attention",
    "full",
    "lora",
    "compacter",
    "kadaptation",
    "lora-moa",
    "kadaptation-moa",
    "paper/attention",
    "paper/full",
    "paper/lora-r2",
    "paper/lora-moa",
    "paper/kadaptation-moa",
];

/// The names of all presets.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// A preset's TOML as it stands in the source, without its `name`.
///
/// # Errors
/// If there is no such preset; the nearest name is suggested.
pub fn preset_text(name: &str) -> Result<&'static str> {
    match PRESETS.iter().find(|(n, _)| *n == name) {
        Some((_, text)) => Ok(text),
        None => {
            let all: Vec<&str> = names().collect();
            let near = nearest(name, all.iter()).map(String::from);
            Err(Error::UnknownMethod { name: name.into(), near })
        }
    }
}

/// A preset.
///
/// # Errors
/// If there is no such preset; the nearest name is suggested.
pub fn preset(name: &str) -> Result<Method> {
    let mut table: toml::Table = preset_text(name)?.parse().unwrap_or_default();
    table.insert("name".into(), name.into());
    let fail = |e: toml::de::Error| Error::Method { method: name.into(), reason: e.to_string() };
    table.try_into().map_err(fail)
}
