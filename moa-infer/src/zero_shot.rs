//! Classes from their names, with CLIP.

use anyhow::Result;
use candle_core::Device;
use moa_core::backbone::Backbone;
use moa_core::clip::{TextConfig, TextTokenizer, ZeroShot};
use std::path::Path;

/// A classifier of `classes` by the text tower of `backbone`, with the tokenizer in its
/// folder or in the file `tokenizer`.
///
/// # Errors
/// If there is no text tower or no tokenizer.
pub fn zero_shot(
    backbone: &Backbone,
    classes: &[String],
    templates: &[String],
    tokenizer: Option<&Path>,
    device: &Device,
) -> Result<ZeroShot> {
    // Without a text tower no tokenizer is worth looking for.
    TextConfig::of(backbone)?;
    let tokenizer = match tokenizer {
        Some(path) => TextTokenizer::open(path)?,
        None => TextTokenizer::in_folder(backbone.path())?,
    };
    Ok(ZeroShot::new(backbone, &tokenizer, classes, templates, device)?)
}
