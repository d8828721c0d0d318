//! Images per second and peak memory of training steps, or with `--forward` of
//! classification, on random weights and random images, as one line of JSON. The
//! speed does not depend on the numbers. `bench/compare_steps.py` runs this and
//! `bench/step_memory.py`, the same in PyTorch, in turns.
//!
//!     cargo run --release --example step_cost -- --model tiny --batch 96

#![allow(clippy::print_stdout)] // a short program for people

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use clap::{Parser, ValueEnum};
use moa_core::backbone::{Backbone, registry};
use moa_core::method::preset;
use moa_core::model::{Build, Classifier, initial};
use moa_core::pass::{Pass, Seeded};
use moa_train::config::{OptimConfig, OptimKind, ScheduleKind};
use moa_train::fit::step_losses;
use moa_train::optim::{Adam, Gradients};
use moa_train::random_backbone::write_random;
use serde_json::json;
use std::time::Instant;

const CLASSES: usize = 7;
const SIZE: usize = 224;

#[derive(Clone, Copy, ValueEnum)]
enum Model {
    /// ViT-Tiny/16
    Tiny,
    /// ViT-B/16
    Base,
}

/// Time training steps
#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "tiny")]
    model: Model,
    #[arg(long, default_value = "paper/kadaptation-moa")]
    method: String,
    /// Images per step
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Timed steps
    #[arg(long, default_value_t = 5)]
    iters: u32,
    /// Steps before
    #[arg(long, default_value_t = 2)]
    warmup: u32,
    /// Classify instead of training
    #[arg(long)]
    forward: bool,
    /// As of `moa-train fit`
    #[arg(long)]
    checkpoint_activations: bool,
}

fn main() -> Result<()> {
    moa_kernels::memory::keep_freed_memory();
    let args = Args::parse();
    let model = build(&args)?;
    let shape = (args.batch, 3, SIZE, SIZE);
    let images = Tensor::randn(0f32, 1f32, shape, &Device::Cpu)?;
    let labels: Vec<u32> = (0..args.batch).map(|i| (i % CLASSES) as u32).collect();
    let optim = OptimConfig {
        kind: OptimKind::Adam,
        lr: 5e-5,
        weight_decay: 0.0,
        schedule: ScheduleKind::Constant,
        warmup: 0,
    };
    let mut adam = Adam::new(&optim, model.trainable())?;
    let mut seconds = Vec::new();
    for step in 0..args.warmup + args.iters {
        let start = Instant::now();
        if args.forward {
            model.logits(&images, &Pass::eval())?.context("no head")?.to_vec2::<f32>()?;
        } else {
            let random = Seeded { seed: 0, step };
            let pass = Pass::train(&random).recomputing(args.checkpoint_activations);
            let mut gradients = Gradients::new();
            step_losses(&model, &images, &labels, pass, 1.0, &mut gradients)?;
            adam.step(model.trainable(), &gradients, optim.lr)?;
        }
        seconds.push(start.elapsed().as_secs_f64());
    }
    let timed = &mut seconds[args.warmup as usize..];
    timed.sort_by(f64::total_cmp);
    let median = timed.get(timed.len() / 2).context("--iters must be at least 1")?;
    let line = json!({
        "impl": "moa",
        "method": args.method,
        "batch": args.batch,
        "forward": args.forward,
        "trainable": model.trainable_parameters(),
        "img_s_median": args.batch as f64 / median,
        "step_s": median,
        "peak_rss_mib": peak_rss_mib(),
    });
    println!("{line}");
    Ok(())
}

fn build(args: &Args) -> Result<Classifier> {
    let (name, architecture) = match args.model {
        Model::Tiny => ("vit-tiny-16-augreg", "vit_tiny_patch16_224"),
        Model::Base => ("vit-b-16-augreg2", "vit_base_patch16_224"),
    };
    let vit = registry::find(name)?.vit;
    let config = json!({
        "architecture": architecture,
        "num_classes": 0,
        "num_features": vit.dim,
        "global_pool": "token",
        "pretrained_cfg": {
            "input_size": [3, SIZE, SIZE], "interpolation": "bicubic", "crop_pct": 0.9,
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "num_classes": 0
        }
    });
    let dir = tempfile::tempdir()?;
    write_random(dir.path(), &config, &vit, 0)?;
    let (backbone, method) = (Backbone::open(dir.path())?, preset(&args.method)?);
    let (image_size, device) = ((SIZE, SIZE), &Device::Cpu);
    let build =
        Build { backbone: &backbone, method: &method, image_size, dtype: DType::F32, device };
    Ok(build.adapted(&initial(&method, &backbone.config, CLASSES, 0)?, 0.0, true)?)
}

/// Where the system tells: Linux.
fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}
