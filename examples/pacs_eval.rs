//! Leave one style out: linear probe, LoRA and a mixture of Kronecker adapters
//! on a set of drawings with four styles, or on real PACS.
//!
//!     cargo run --release --example pacs_eval
//!     cargo run --release --example pacs_eval -- --data PACS --backbone vit-tiny/

#![allow(clippy::print_stdout)] // a short program for people

use anyhow::{Context, Result};
use clap::Parser;
use moa_train::cli::on_big_stack;
use moa_train::protocol::select::Rule;
use moa_train::study::{Entry, Study};
use moa_train::{report, synth};
use std::path::PathBuf;

/// Leave-one-style-out evaluation of three methods
#[derive(Parser)]
struct Args {
    /// Folder of PACS; without it a small set of drawings is made
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Backbone: a name or a folder
    #[arg(long, value_name = "SPEC", default_value = "tiny")]
    backbone: String,
    /// Where runs and reports go
    #[arg(long, value_name = "DIR", default_value = "runs/pacs_eval")]
    out: PathBuf,
    /// Set any key of `moa-train fit`
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Settings that make the demo short; real data gets the paper's.
const DEMO: &[&str] =
    &["train.steps=60", "train.batch_per_env=16", "train.eval_every=30", "checkpoint.every=60"];

fn main() -> std::process::ExitCode {
    moa_infer::exit::report("pacs_eval", on_big_stack(|| run(Args::parse())))
}

fn run(args: Args) -> Result<()> {
    let demo = args.data.is_none();
    let data = match args.data {
        Some(data) => data,
        None => {
            let dir = args.out.join("drawings");
            let made = synth::write_dataset(&dir, 0, 40, 64)?;
            println!("{} drawings in {}", made.images, dir.display());
            dir.to_str().context("the output folder is not UTF-8")?.to_string()
        }
    };
    let entries = [
        Entry {
            method: "linear-probe",
            set: &[if demo { "optim.lr=3e-3" } else { "optim.lr=1e-3" }],
        },
        Entry { method: "lora", set: if demo { &["optim.lr=3e-3"] } else { &[] } },
        Entry { method: "kadaptation-moa", set: if demo { &["optim.lr=3e-3"] } else { &[] } },
    ];
    let own: Vec<&str> = args.set.iter().map(String::as_str).collect();
    let set = if demo { [DEMO, &own].concat() } else { own };
    let study = Study {
        dataset: if demo { "folder" } else { "pacs" },
        data: &data,
        backbone: &args.backbone,
        set: &set,
        entries: &entries,
        out: &args.out,
    };
    let title = if demo { "Drawings: leave one style out" } else { "PACS: leave one domain out" };
    let result = study.run(title, |line| println!("{line}"))?;
    for table in report::tables(&result, Rule::TrainingDomain) {
        print!("{}", table.to_text(20, 20));
    }
    println!("\n{}", args.out.join("report.html").display());
    Ok(())
}
