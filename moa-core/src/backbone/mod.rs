//! Pretrained vision transformers in six on-disk layouts, by one set of names.
//!
//! | layout | recognised by | weights |
//! |---|---|---|
//! | timm | `config.json` with `architecture` | `model.safetensors` |
//! | open_clip | `open_clip_config.json` | `open_clip_model.safetensors` |
//! | transformers CLIP, ViT, Dinov2 (with registers) | `config.json` with `model_type` | `model.safetensors` or shards |
//!
//! [`Backbone::open`] turns a folder into a [`VitConfig`] and tensors under timm's
//! names; [`Backbone::save`] writes it back in its own layout. An architecture that
//! cannot be computed exactly is refused by the key that asks for it.

mod check;
mod config;
mod detect;
mod dialects;
mod error;
mod folder;
mod header;
mod hf;
mod hf_preprocess;
mod json;
mod kinds;
mod names;
mod open;
mod open_clip;
mod parsed;
mod pos_embed;
mod raw;
mod read;
pub mod registry;
mod save;
mod shards;
mod source;
#[cfg(test)]
mod tests;
mod timm;
mod timm_archs;
mod timm_preprocess;
mod weights;

pub use config::VitConfig;
pub use detect::Layout;
pub use error::BackboneError;
pub(crate) use json::{Keys, Texts};
pub use kinds::{HeadKind, MlpKind, Pool};
pub(crate) use names::NameMap;
pub use open::Backbone;
pub use pos_embed::{PosResample, resample};
pub use raw::{DiskTensor, RawTensor};
