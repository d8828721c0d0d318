//! What every configuration is turned into.

use super::config::VitConfig;
use crate::image::Preprocess;

/// A configuration in our terms.
#[derive(Debug)]
pub(super) struct Parsed {
    pub config: VitConfig,
    /// In a file of its own with transformers.
    pub preprocess: Option<Preprocess>,
    /// Outputs of the classifier, where the configuration tells.
    pub classes: Option<usize>,
    pub class_names: Option<Vec<String>>,
    pub keys: &'static FactKeys,
}

/// The keys of a configuration that hold the facts which tensors tell too.
#[derive(Debug)]
pub(super) struct FactKeys {
    pub image_size: &'static str,
    pub patch_size: &'static str,
    pub dim: &'static str,
    pub depth: &'static str,
    pub mlp_hidden: &'static str,
    pub registers: &'static str,
    pub qkv_bias: &'static str,
    pub patch_bias: &'static str,
    pub pre_norm: &'static str,
    pub layer_scale: &'static str,
}
