//! Backbones known by name: what is in `models/*.toml`.

use serde::{Deserialize, Serialize};

use super::config::VitConfig;
use super::detect::Layout;
use super::error::{BackboneError, Result};
use crate::image::Preprocess;
use crate::suggest::nearest;

/// A published backbone. Its architecture is here too, so that parameters can be
/// counted without its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownBackbone {
    /// The name it goes by here.
    pub name: String,
    /// Hub repository, `owner/name`.
    pub repo: String,
    /// Commit of the repository; the default branch if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The files that make up the folder.
    pub files: Vec<String>,
    /// How it is stored.
    pub layout: Layout,
    /// SPDX identifier of the weights' licence.
    pub licence: String,
    /// Where it comes from, and what to know about it.
    pub note: String,
    /// Outputs of its own classifier, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Its architecture.
    pub vit: VitConfig,
    /// How images become its input.
    pub preprocess: Preprocess,
}

macro_rules! entry {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../models/", $name, ".toml")))
    };
}

/// Name and text of every file, sorted by name.
static FILES: &[(&str, &str)] = &[
    entry!("dinov2-base"),
    entry!("dinov2-base-reg"),
    entry!("dinov2-large"),
    entry!("dinov2-large-reg"),
    entry!("dinov2-small"),
    entry!("dinov2-small-reg"),
    entry!("openai-clip-vit-b-16"),
    entry!("openai-clip-vit-b-32"),
    entry!("openai-clip-vit-l-14"),
    entry!("openclip-vit-b-16-laion2b"),
    entry!("openclip-vit-b-32-laion2b"),
    entry!("openclip-vit-h-14-laion2b"),
    entry!("openclip-vit-l-14-laion2b"),
    entry!("vit-b-16-augreg-in21k"),
    entry!("vit-b-16-augreg2"),
    entry!("vit-b-16-in21k-google"),
    entry!("vit-s-16-augreg-in21k"),
    entry!("vit-tiny-16-augreg"),
];

/// All names, sorted.
pub fn names() -> Vec<&'static str> {
    FILES.iter().map(|(name, _)| *name).collect()
}

/// The backbone of this name.
///
/// # Errors
/// If there is none; the nearest name is suggested.
pub fn find(name: &str) -> Result<KnownBackbone> {
    let Some((name, text)) = FILES.iter().find(|(known, _)| *known == name) else {
        let near = nearest(name, FILES.iter().map(|(known, _)| *known)).map(String::from);
        return Err(BackboneError::UnknownName { name: name.into(), near });
    };
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let path = format!("models/{name}.toml").into();
        BackboneError::unusable(path, format!("cannot be read: {}", error.message()))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_listed_and_possible() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        let mut on_disk: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .filter_map(|e| {
                Some(e.unwrap().file_name().to_str()?.strip_suffix(".toml")?.to_owned())
            })
            .collect();
        on_disk.sort();
        assert_eq!(on_disk, names());
        for name in names() {
            let known = find(name).unwrap();
            assert_eq!(known.name, name);
            known.vit.check(Path::new(name)).unwrap();
            known.preprocess.check().unwrap();
            let stem = known.layout.weights_stem();
            assert!(known.files.contains(&format!("{stem}.safetensors")), "{name}");
            assert!(known.files.contains(&known.layout.config_file().to_owned()), "{name}");
            assert_eq!(known.classes.is_some(), known.vit.head.is_some(), "{name}");
            assert!(known.revision.is_none_or(|r| r.len() == 40));
            assert_eq!(known.preprocess.height % known.vit.patch_size, 0);
        }
    }

    /// From the libraries: `sum(p.numel() for p in model.parameters())` of the vision
    /// tower, less its projection, with its classifier.
    #[test]
    fn published_parameter_counts() {
        // Parameters of a published model that no feature depends on.
        const MASK_TOKEN: usize = 768;
        const POOLER: usize = 768 * 768 + 768;
        for (name, published, unused) in [
            ("openclip-vit-b-16-laion2b", 85_799_424, 0),
            ("openai-clip-vit-b-16", 85_799_424, 0),
            ("openai-clip-vit-b-32", 87_456_000, 0),
            ("openclip-vit-b-32-laion2b", 87_456_000, 0),
            ("openclip-vit-l-14-laion2b", 303_179_776, 0),
            ("openclip-vit-h-14-laion2b", 630_766_080, 0),
            ("vit-b-16-augreg2", 86_567_656, 0),
            ("vit-b-16-augreg-in21k", 102_595_923, 0),
            ("vit-s-16-augreg-in21k", 30_075_219, 0),
            ("vit-tiny-16-augreg", 5_717_416, 0),
            ("vit-b-16-in21k-google", 86_389_248, POOLER),
            ("dinov2-small", 22_056_576, MASK_TOKEN / 2),
            ("dinov2-base", 86_580_480, MASK_TOKEN),
            ("dinov2-base-reg", 86_583_552, MASK_TOKEN),
            ("dinov2-large", 304_368_640, 1024),
            ("dinov2-small-reg", 22_058_112, MASK_TOKEN / 2),
            ("dinov2-large-reg", 304_372_736, 1024),
        ] {
            let known = find(name).unwrap();
            let width = known.vit.head_width().unwrap_or(0);
            let head = known.classes.map_or(0, |classes| classes * (width + 1));
            assert_eq!(known.vit.parameters() + head + unused, published, "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let error = find("dinov2-bsae").unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no backbone named `dinov2-bsae`; the nearest name is `dinov2-base`"
        );
    }
}
