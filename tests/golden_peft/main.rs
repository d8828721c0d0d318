//! Adapters written by Python's `peft`: predicted with, merged, and their single layers.
//!
//! Cases come from where those of `tests/golden` do.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

mod cases;
#[path = "../golden/common.rs"]
mod common;
#[path = "../golden/run.rs"]
mod run;

fn main() -> std::process::ExitCode {
    run::run(&[("peft", cases::trials)])
}
