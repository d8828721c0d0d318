//! Leave one style out: linear probe, LoRA and a mixture of Kronecker adapters
//! on a set of drawings with four styles, or on real PACS.
//!
//!     cargo run --release --example pacs_eval
//!     cargo run --release --example pacs_eval -- --data PACS --backbone vit-tiny/

#![allow(clippy::print_stdout)] // a short program for people

use anyhow::{Context, Result};
use clap::Parser;
use moa_train::cli::on_big_stack;
use moa_train::fit::signals::StopFlag;
use moa_train::protocol::select::Rule;
use moa_train::sweep::{Folder, Options, SweepFile, work};
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
    // What `moa-train sweep plan` reads from a file.
    let quick = if demo { "optim.lr = 3e-3" } else { "" };
    let text = format!(
        "[sweep]
         methods = ['linear-probe', 'lora', 'kadaptation-moa']
         trials = [0]
         [sweep.method.linear-probe]
         optim.lr = {}
         [sweep.method.lora]
         {quick}
         [sweep.method.kadaptation-moa]
         {quick}",
        if demo { "3e-3" } else { "1e-3" }
    );
    let mut set = vec![
        format!("data.dataset={}", if demo { "folder" } else { "pacs" }),
        format!("data.root={}", toml::Value::from(data)),
        format!("backbone.spec={}", toml::Value::from(args.backbone)),
    ];
    if demo {
        set.extend(DEMO.iter().map(|text| (*text).to_string()));
    }
    set.extend(args.set);
    let file = SweepFile::parse(&text, "pacs_eval", &set)?;
    let sweep = Folder::plan(&args.out, &file)?;
    let tally = work(&sweep, &Options::default(), &StopFlag::listen()?, |line| println!("{line}"))?;
    anyhow::ensure!(tally.failed == 0, "{} runs failed", tally.failed);
    let title = if demo { "Drawings: leave one style out" } else { "PACS: leave one domain out" };
    let result = report::write(&args.out, title)?;
    for table in report::tables(&result, Rule::TrainingDomain) {
        print!("{}", table.to_text(20, 20));
    }
    println!("\n{}", args.out.join("report.html").display());
    Ok(())
}
