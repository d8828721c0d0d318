//! Which files of a repository are an adapter or a backbone.

use crate::labels::LABELS_FILE;
use moa_core::backbone::Layout;
use moa_core::model::{CONFIG_FILE, TENSOR_FILE};
use moa_core::peft::PEFT_CONFIG_FILE;
use std::collections::BTreeSet;

/// Taken if they are there: how images become input, and how texts become tokens.
const MORE: [&str; 4] =
    ["preprocessor_config.json", "processor_config.json", "tokenizer.json", LABELS_FILE];

/// The files to take.
#[derive(Debug, PartialEq, Eq)]
pub struct Selection {
    /// All, but for those that `index` names. Weights come last: where they are the rest is, too.
    pub files: Vec<String>,
    /// One of `files` that names the weights.
    pub index: Option<String>,
}

/// Why there are none.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The weights are here, as pickles.
    Pickles(String),
    /// What is missing.
    Missing(String),
}

/// Chooses from the names of all files. Only those at the top count.
///
/// # Errors
/// If they are neither an adapter nor a backbone.
pub fn select<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Selection, Unusable> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let has = |name: &str| names.contains(name);
    let of = |configs: &[&str], weights: &str| {
        let files = configs.iter().chain(&MORE).filter(|name| has(name)).chain([&weights]);
        files.map(|name| (*name).to_owned()).collect::<Vec<_>>()
    };
    let plain = |files| Ok(Selection { files, index: None });
    if has(CONFIG_FILE) || has(PEFT_CONFIG_FILE) {
        return match has(TENSOR_FILE) {
            true => plain(of(&[CONFIG_FILE, PEFT_CONFIG_FILE], TENSOR_FILE)),
            false => Err(without(&names, TENSOR_FILE)),
        };
    }
    let open_clip = Layout::OpenClip;
    let configs = [open_clip.config_file(), Layout::Timm.config_file()];
    if !configs.iter().any(|config| has(config)) {
        let wanted = format!("there is no {}, {} or {CONFIG_FILE}", configs[1], configs[0]);
        return Err(Unusable::Missing(wanted));
    }
    // As folders are read: open_clip's weights first, they alone come with its text tower.
    let stems = [open_clip, Layout::Timm].map(Layout::weights_stem);
    let first = usize::from(!has(configs[0]));
    for stem in &stems[first..] {
        let (whole, index) =
            (format!("{stem}.safetensors"), format!("{stem}.safetensors.index.json"));
        if has(&whole) {
            return plain(of(&configs, &whole));
        }
        if has(&index) {
            return Ok(Selection { files: of(&configs, &index), index: Some(index) });
        }
    }
    Err(without(&names, &format!("{}.safetensors", stems[1])))
}

fn without(names: &BTreeSet<&str>, wanted: &str) -> Unusable {
    let pickled = |name: &&&str| {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        !name.contains('/') && matches!(ending, Some("bin" | "pt" | "pth" | "ckpt"))
    };
    match names.iter().find(pickled) {
        Some(name) => Unusable::Pickles((*name).into()),
        None => Unusable::Missing(format!("there is no {wanted}")),
    }
}

/// The weight files that an index names.
///
/// # Errors
/// Text, if it is no index.
pub fn shards(index: &[u8]) -> Result<BTreeSet<String>, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(index).map_err(|e| e.to_string())?;
    let files: BTreeSet<_> = index.weight_map.into_values().collect();
    let flat = |file: &String| super::names::is_safe(file) && file.ends_with(".safetensors");
    match files.iter().find(|file| !flat(file)) {
        Some(bad) => Err(format!("{bad:?} is no name of a weight file")),
        None => Ok(files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<String> {
        select(names.iter().copied()).unwrap().files
    }

    #[test]
    fn adapters_come_before_backbones() {
        let ours = ["moa.json", "adapter_model.safetensors", "README.md", "config.json"];
        assert_eq!(files(&ours), ["moa.json", "adapter_model.safetensors"]);
        let peft = ["adapter_model.safetensors", "adapter_config.json", "labels.txt"];
        assert_eq!(
            files(&peft),
            ["adapter_config.json", "labels.txt", "adapter_model.safetensors"]
        );
    }

    #[test]
    fn backbones_in_every_form() {
        let hf =
            ["config.json", "model.safetensors", "preprocessor_config.json", "pytorch_model.bin"];
        assert_eq!(files(&hf), ["config.json", "preprocessor_config.json", "model.safetensors"]);
        let joint = ["config.json", "model.safetensors", "processor_config.json"];
        assert_eq!(files(&joint), ["config.json", "processor_config.json", "model.safetensors"]);
        // LAION's repositories hold both; the weights are there once.
        let both = [
            "config.json",
            "model.safetensors",
            "open_clip_config.json",
            "open_clip_model.safetensors",
            "tokenizer.json",
        ];
        let wanted = [
            "open_clip_config.json",
            "config.json",
            "tokenizer.json",
            "open_clip_model.safetensors",
        ];
        assert_eq!(files(&both), wanted);
        let sharded =
            select(["config.json", "model.safetensors.index.json", "a.safetensors"]).unwrap();
        assert_eq!(sharded.index.as_deref(), Some("model.safetensors.index.json"));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let pickles = |names: &[&str]| select(names.iter().copied()).unwrap_err();
        let bin = pickles(&["config.json", "pytorch_model.bin"]);
        assert_eq!(bin, Unusable::Pickles("pytorch_model.bin".into()));
        let bin = pickles(&["adapter_config.json", "adapter_model.bin"]);
        assert_eq!(bin, Unusable::Pickles("adapter_model.bin".into()));
        assert!(matches!(pickles(&["README.md"]), Unusable::Missing(_)));
        assert!(matches!(pickles(&["config.json", "a/model.safetensors"]), Unusable::Missing(_)));
    }

    #[test]
    fn an_index_names_files_of_its_folder() {
        let index = br#"{"metadata":{},"weight_map":{"a":"x.safetensors","b":"x.safetensors"}}"#;
        assert_eq!(shards(index).unwrap().into_iter().collect::<Vec<_>>(), ["x.safetensors"]);
        for bad in
            [r#"{"weight_map":{"a":"../x.safetensors"}}"#, r#"{"weight_map":{"a":"x.bin"}}"#, "{"]
        {
            assert!(shards(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
