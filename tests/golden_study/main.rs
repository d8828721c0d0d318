//! Selection, tables and weight averaging against the published programs of DomainBed and SWAD.
//!
//! `MOA_GOLDEN=DIR cargo test --release --test golden_study` runs every case that the
//! index files of `DIR` name. Without the variable the part of that data that is
//! kept in `tests/data/golden` is used.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
#[path = "../golden/common.rs"]
mod common;
#[path = "../golden/domainbed.rs"]
mod domainbed;
#[path = "../golden/run.rs"]
mod run;
mod swad;

use run::Section;
use std::process::ExitCode;

const SECTIONS: &[Section] = &[("domainbed", domainbed::trials), ("swad", swad::trials)];

fn main() -> ExitCode {
    run::run(SECTIONS)
}
