//! Which layout a folder is in.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{BackboneError, Result};
use super::folder::Folder;
use super::json::Keys;
use super::kinds::HeadKind;

/// Configuration of timm and transformers.
pub(super) const CONFIG: &str = "config.json";
/// Configuration of open_clip.
pub(super) const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";

/// Who wrote a checkpoint, and with which class of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// timm `save_for_hf`.
    Timm,
    /// open_clip `push_to_hf_hub`.
    OpenClip,
    /// transformers `CLIPModel`, `CLIPVisionModel`, `CLIPVisionModelWithProjection`.
    HfClip,
    /// transformers `ViTModel`, `ViTForImageClassification`.
    HfVit,
    /// transformers `Dinov2Model`, `Dinov2ForImageClassification`.
    #[serde(rename = "hf_dinov2")]
    HfDinov2,
    /// transformers `Dinov2WithRegistersModel`, `Dinov2WithRegistersForImageClassification`.
    #[serde(rename = "hf_dinov2_with_registers")]
    HfDinov2WithRegisters,
}

impl Layout {
    /// The weights' file name without `.safetensors`.
    pub fn weights_stem(self) -> &'static str {
        if self == Self::OpenClip { "open_clip_model" } else { "model" }
    }

    /// What the classifier of this layout reads; `None` if it has none.
    pub fn classifier(self) -> Option<HeadKind> {
        match self {
            Self::Timm | Self::HfVit => Some(HeadKind::Pooled),
            Self::HfDinov2 | Self::HfDinov2WithRegisters => Some(HeadKind::ClsAndPatchMean),
            Self::OpenClip | Self::HfClip => None,
        }
    }

    /// The configuration's file name.
    pub fn config_file(self) -> &'static str {
        if self == Self::OpenClip { OPEN_CLIP_CONFIG } else { CONFIG }
    }

    /// The layout that a `model_type` of transformers stands for.
    fn of_model_type(name: &str) -> Option<Self> {
        match name {
            "clip" | "clip_vision_model" => Some(Self::HfClip),
            "vit" => Some(Self::HfVit),
            "dinov2" => Some(Self::HfDinov2),
            "dinov2_with_registers" => Some(Self::HfDinov2WithRegisters),
            _ => None,
        }
    }
}

/// The layout of a folder, with its configuration.
///
/// Some repositories hold an open_clip checkpoint beside one of timm or
/// transformers. open_clip's is taken where its weights are there, because it alone
/// has the text tower that fits.
pub(super) fn detect(folder: &Folder) -> Result<(Layout, Map<String, Value>)> {
    let open_clip = Layout::OpenClip.weights_stem();
    let complete = |name: &String| name.starts_with(open_clip) && name.contains(".safetensors");
    let has_config = folder.has(CONFIG);
    if folder.has(OPEN_CLIP_CONFIG) && (!has_config || folder.names().iter().any(complete)) {
        return Ok((Layout::OpenClip, folder.json(OPEN_CLIP_CONFIG)?));
    }
    if !has_config {
        let reason = format!(
            "not a backbone: there is neither {CONFIG} nor {OPEN_CLIP_CONFIG}; fetch it from where the \
             weights come from"
        );
        return Err(BackboneError::unusable(folder.path().into(), reason));
    }
    let (map, file) = (folder.json(CONFIG)?, folder.file(CONFIG));
    let keys = Keys::new(&file, &map);
    let layout = match keys.text("model_type")? {
        Some(name) => Layout::of_model_type(name).ok_or_else(|| {
            let wanted =
                "clip, clip_vision_model, vit, dinov2 and dinov2_with_registers are supported";
            keys.unsupported("model_type", wanted)
        })?,
        None if keys.get("architecture").is_some() => Layout::Timm,
        None => {
            let reason =
                "is missing, and so is timm's `architecture`: not the config of a backbone";
            return Err(keys.bad("model_type", reason));
        }
    };
    Ok((layout, map))
}
