//! Images per second and peak memory of training steps, or with `--forward` of
//! classification, on random weights and random images, as one line of JSON. The
//! speed does not depend on the numbers. `bench/compare_steps.py` runs this and
//! `bench/step_memory.py`, the same in PyTorch, in turns.
//!
//!     cargo run --release --example step_cost -- --model tiny --batch 96
//!
//! With `--dump DIR` one step is computed, not timed, and written with all that it
//! was fed with, for `bench/check_peers.py` to repeat.

#![allow(clippy::print_stdout)] // a short program for people

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use clap::{Parser, ValueEnum};
use moa_core::adapter::Init;
use moa_core::backbone::{Backbone, registry};
use moa_core::device::DeviceSpec;
use moa_core::method::Method;
use moa_core::model::{Build, Classifier, initial, write_tensors};
use moa_core::pass::{Pass, Seeded};
use moa_train::config::layers::Layers;
use moa_train::config::{OptimConfig, OptimKind, ScheduleKind};
use moa_train::fit::step_losses;
use moa_train::optim::{Adam, Gradients};
use moa_train::random_backbone::write_random;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
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
    /// Set a `method.` key as `moa-train fit --set` does; repeat for several
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Images per step
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Timed steps
    #[arg(long, default_value_t = 5)]
    iters: u32,
    /// Steps before
    #[arg(long, default_value_t = 2)]
    warmup: u32,
    /// Print a line before each timed step and wait for one
    #[arg(long)]
    turns: bool,
    /// Classify instead of training
    #[arg(long)]
    forward: bool,
    /// As of `moa-train fit`
    #[arg(long)]
    checkpoint_activations: bool,
    /// As of `moa-train fit`
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// Type to compute in: f32, bf16 or f16
    #[arg(long, default_value = "f32")]
    dtype: String,
    /// Write one step, or one classification, to this folder instead of timing
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// Write the backbone to this folder and end
    #[arg(long, value_name = "DIR", hide = true)]
    only_backbone: Option<PathBuf>,
}

fn main() -> Result<()> {
    moa_kernels::memory::keep_freed_memory();
    moa_kernels::pool::as_one_of_the_pool(run)
}

fn run() -> Result<()> {
    let args = Args::parse();
    if let Some(dir) = &args.only_backbone {
        return write_backbone(args.model, dir);
    }
    if let Some(dir) = &args.dump {
        return dump(&args, dir);
    }
    let mut model = build(&args, tempfile::tempdir()?.path())?;
    if args.forward {
        model.vit.set_in_panels()?; // as one that does not train is built
    }
    let shape = (args.batch, 3, SIZE, SIZE);
    let device = device_of(&model)?;
    let images = Tensor::randn(0f32, 1f32, shape, &device)?;
    let labels = labels(&args);
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
        if args.turns && step >= args.warmup {
            println!("turn");
            std::io::stdin().read_line(&mut String::new())?;
        }
        let start = Instant::now();
        if args.forward {
            let logits = model.logits(&images, &Pass::eval())?.context("no head")?;
            logits.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        } else {
            let random = Seeded { seed: 0, step };
            let pass = Pass::train(&random).recomputing(args.checkpoint_activations);
            let mut gradients = Gradients::new();
            step_losses(&model, &images, &labels, pass, None, 1.0, &mut gradients)?;
            adam.step(model.trainable(), &gradients, optim.lr)?;
        }
        device.synchronize()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let seconds = &seconds[args.warmup as usize..];
    let mut timed = seconds.to_vec();
    timed.sort_by(f64::total_cmp);
    let median = timed.get(timed.len() / 2).context("--iters must be at least 1")?;
    let line = json!({
        "impl": "moa",
        "method": model.method.label(),
        "batch": args.batch,
        "forward": args.forward,
        "dtype": args.dtype,
        "trainable": model.trainable_parameters(),
        "img_s_median": args.batch as f64 / median,
        "step_s": median,
        "seconds": seconds,
        "peak_rss_mib": peak_rss_mib(),
        "peak_gpu_mib": moa_kernels::memory::device_peak(&device).map(|bytes| bytes >> 20),
    });
    println!("{line}");
    Ok(())
}

fn device_of(model: &Classifier) -> Result<Device> {
    Ok(model.trainable().values().next().context("nothing trains")?.device().clone())
}

fn labels(args: &Args) -> Vec<u32> {
    (0..args.batch).map(|i| (i % CLASSES) as u32).collect()
}

/// The preset with what `--set` changes.
fn method(args: &Args) -> Result<Method> {
    let mut layers = Layers::default();
    for key in ["backbone.spec", "data.root", "data.test_env"] {
        layers.set(key, "none", "step_cost")?;
    }
    layers.set("method.name", args.method.as_str(), "--method")?;
    for text in &args.set {
        ensure!(text.starts_with("method."), "--set {text}: only keys of the method");
        layers.set_text(text)?;
    }
    Ok(layers.resolve()?.0.method)
}

/// Writes a random backbone to `dir`.
fn write_backbone(model: Model, dir: &Path) -> Result<()> {
    let (name, architecture) = match model {
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
    write_random(dir, &config, &vit, 0)
}

/// The model; its random backbone is written to `dir`.
fn build(args: &Args, dir: &Path) -> Result<Classifier> {
    // By another process: what it takes to draw all weights is not what a step takes.
    let mut writer = Command::new(std::env::current_exe()?);
    let model = args.model.to_possible_value().context("no such model")?;
    writer.args(["--model", model.get_name()]).arg("--only-backbone").arg(dir);
    ensure!(writer.status()?.success(), "the backbone was not written");
    let (backbone, method) = (Backbone::open(dir)?, method(args)?);
    let (image_size, device) = ((SIZE, SIZE), &args.device.open()?);
    let dtype = args.dtype.parse()?;
    let build = Build { backbone: &backbone, method: &method, image_size, dtype, device };
    Ok(build.adapted(&initial(&method, &backbone.config, CLASSES, 0)?, 0.0, true)?)
}

/// Writes `backbone/` and `step.safetensors`: `images`, `labels`, `logits` and, of a
/// training step with seed 0 and step 0, `ce`, `aux`, and `init.NAME` and `grad.NAME`
/// of every trainable tensor.
fn dump(args: &Args, dir: &Path) -> Result<()> {
    let backbone = dir.join("backbone");
    std::fs::create_dir_all(&backbone)?;
    let model = build(args, &backbone)?;
    // Seeded, as a near tie between experts could fall either way in another program.
    let device = device_of(&model)?;
    let draw = |name: &str, shape: &[usize], std: f64| {
        Init::Normal(std).draw(name, shape, 1)?.to_dtype(DType::F32)?.to_device(&device)
    };
    let images = draw("images", &[args.batch, 3, SIZE, SIZE], 1.0)?;
    let labels = labels(args);
    let mut found = BTreeMap::new();
    for (name, var) in model.trainable() {
        // Away from zero, or the factor beside a zero one would have no gradient.
        let value = (var.as_tensor().detach() + draw(name, var.dims(), 0.02)?)?;
        var.set(&value)?;
        found.insert(format!("init.{name}"), value);
    }
    let random = Seeded { seed: 0, step: 0 };
    let pass = || match args.forward {
        true => Pass::eval(),
        false => Pass::train(&random).recomputing(args.checkpoint_activations),
    };
    let logits = model.logits(&images, &pass())?.context("no head")?.detach();
    if !args.forward {
        let mut gradients = Gradients::new();
        let losses = step_losses(&model, &images, &labels, pass(), None, 1.0, &mut gradients)?;
        found.extend(gradients.into_iter().map(|(name, grad)| (format!("grad.{name}"), grad)));
        for (name, loss) in [("ce", losses.ce), ("aux", losses.balance)] {
            found.insert(name.into(), Tensor::new(loss as f32, &Device::Cpu)?);
        }
    }
    let labels = Tensor::new(labels, &Device::Cpu)?.to_dtype(DType::F32)?;
    let fed = [("images", images), ("labels", labels), ("logits", logits)];
    found.extend(fed.map(|(name, tensor)| (name.to_string(), tensor)));
    Ok(write_tensors(&dir.join("step.safetensors"), &found)?)
}

/// Where the system tells: Linux.
fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}
