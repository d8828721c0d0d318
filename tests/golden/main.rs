//! Comparisons with reference data made by PyTorch, timm, open_clip,
//! transformers and Pillow.
//!
//! `MOA_GOLDEN=DIR cargo test --release --test golden` runs every case that the
//! index files of `DIR` name. Without the variable the part of that data that is
//! kept in `tests/data/golden` is used.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backbones;
mod clip;
mod common;
mod formats;
mod moa_layer;
mod run;
mod transforms;
mod vit_moa;

use run::Section;
use std::process::ExitCode;

const SECTIONS: &[Section] = &[
    ("backbones", backbones::trials),
    ("backbones", clip::trials),
    ("backbones", formats::trials),
    ("moa_layer", moa_layer::trials),
    ("transforms", transforms::trials),
    ("vit_moa", vit_moa::trials),
];

fn main() -> ExitCode {
    run::run(SECTIONS)
}
