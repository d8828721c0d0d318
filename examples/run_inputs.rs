//! What a run of `moa-train fit` starts from and is fed with, for another
//! program to repeat it: `init.safetensors` holds every trainable tensor,
//! `batches.jsonl` has one line per micro-batch, a list of
//! `[environment/class/file, class]`.
//!
//!     cargo run --release --example run_inputs -- runs/sketch/config.toml --out inputs/
//!     python bench/reference_fit.py --init inputs/init.safetensors --batches inputs/batches.jsonl ...

#![allow(clippy::print_stdout)] // a short program for people

use anyhow::{Context, Result};
use clap::Parser;
use moa_core::model::write_tensors;
use moa_infer::dataset::Sample;
use moa_train::config::layers::Layers;
use moa_train::fit::Plan;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// Write the initial tensors and the batches of a run
#[derive(Parser)]
struct Args {
    /// Configuration of the run; `RUN/config.toml` has every key
    config: PathBuf,
    /// Folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut layers = Layers::default();
    layers.file(&args.config)?;
    let plan = Plan::new(layers.resolve()?.0)?;
    std::fs::create_dir_all(&args.out)?;
    write_tensors(&args.out.join("init.safetensors"), &plan.adapter(0)?.tensors)?;

    let train = &plan.config.train;
    let micro_batches = u32::try_from(train.steps * train.accumulate)?;
    let (pools, batches) = (plan.data.pools(), plan.batches());
    let mut file = BufWriter::new(std::fs::File::create(args.out.join("batches.jsonl"))?);
    for micro in 0..micro_batches {
        let mut entries = Vec::new();
        for (env, place) in batches.indices(micro) {
            let Sample { path, class } = pools[env].sample(place);
            let name = path.strip_prefix(&plan.config.data.root)?;
            entries.push((name.to_str().context("a file name is not UTF-8")?.to_string(), class));
        }
        writeln!(file, "{}", serde_json::to_string(&entries)?)?;
    }
    file.flush()?;
    println!("{}: {micro_batches} micro-batches", args.out.display());
    Ok(())
}
