//! Comparisons with reference data made by PyTorch, timm, open_clip,
//! transformers, Pillow and DomainBed.
//!
//! `MOA_GOLDEN=DIR cargo test --release --test golden` runs every case that the
//! index files of `DIR` name. Without the variable the part of that data that is
//! kept in `tests/data/golden` is used.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backbones;
mod common;
mod domainbed;
mod formats;
mod moa_layer;
mod transforms;
mod vit_moa;

use libtest_mimic::{Arguments, Trial};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Section = (&'static str, fn(&Path) -> Vec<Trial>);

const SECTIONS: &[Section] = &[
    ("backbones", backbones::trials),
    ("backbones", formats::trials),
    ("domainbed", domainbed::trials),
    ("moa_layer", moa_layer::trials),
    ("transforms", transforms::trials),
    ("vit_moa", vit_moa::trials),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let given = std::env::var_os("MOA_GOLDEN").map(PathBuf::from);
    let root = given
        .clone()
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden"));
    let mut trials = Vec::new();
    for (name, section) in SECTIONS {
        if root.join(name).is_dir() {
            let found = section(&root);
            assert!(!found.is_empty(), "{}: no case in {name}", root.display());
            trials.extend(found);
        } else {
            // Say that it was not run, rather than nothing.
            let missing = Trial::test(format!("{name}::(not in {})", root.display()), || Ok(()));
            trials.push(missing.with_ignored_flag(true));
        }
    }
    let ran = trials.iter().filter(|t| !t.has_ignored_flag()).count();
    assert!(ran > 0, "{}: no reference data; is MOA_GOLDEN the right folder?", root.display());
    libtest_mimic::run(&arguments, trials).exit_code()
}
