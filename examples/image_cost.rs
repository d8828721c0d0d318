//! Images per second of the evaluation transform (JPEG bytes to normalised numbers,
//! as for a timm ViT with 224 x 224 pixels) on one thread, as one line of JSON.
//! `bench/compare_images.py` runs this and the same in Python in turns.
//!
//!     cargo run --release --example image_cost -- --data folder/of/jpegs

#![allow(clippy::print_stdout)] // a short program for people

use anyhow::{Context, Result};
use clap::Parser;
use moa_core::image::{Interpolation, Normalise, Preprocess, ResizeRule, decode_bytes};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time decoding, resizing and normalising
#[derive(Parser)]
struct Args {
    /// Searched for JPEGs, with all folders inside
    #[arg(long)]
    data: PathBuf,
    /// Take so many images, spread over all
    #[arg(long, default_value_t = 256)]
    limit: usize,
    /// Timed passes over the images
    #[arg(long, default_value_t = 5)]
    passes: usize,
    /// Write the inputs here, as f32 of this machine, in order of the paths
    #[arg(long)]
    dump: Option<PathBuf>,
}

fn main() -> Result<()> {
    moa_kernels::memory::keep_freed_memory();
    let args = Args::parse();
    let mut paths = Vec::new();
    find(&args.data, &mut paths)?;
    paths.sort();
    let kept = args.limit.min(paths.len());
    let files: Vec<Vec<u8>> = (0..kept)
        .map(|i| std::fs::read(&paths[i * paths.len() / kept]))
        .collect::<Result<_, _>>()?;
    let plan = Preprocess {
        height: 224,
        width: 224,
        resize: ResizeRule::CropPct(0.9),
        interpolation: Interpolation::Bicubic,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };
    if let Some(path) = &args.dump {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for bytes in &files {
            for value in plan.apply(&decode_bytes(bytes, "image")?) {
                file.write_all(&value.to_ne_bytes())?;
            }
        }
        file.flush()?;
    }
    pass(&plan, &files)?;
    let mut passes = (0..args.passes).map(|_| pass(&plan, &files)).collect::<Result<Vec<_>>>()?;
    passes.sort_by_key(|parts| parts.iter().sum::<Duration>());
    let best = passes.first().context("--passes must be at least 1")?;
    let each = |time: Duration| time.as_secs_f64() / files.len() as f64;
    let rate = |parts: &[Duration; 3]| 1.0 / each(parts.iter().sum());
    let [decode, resize, normalise] = best.map(|time| each(time) * 1e6);
    let line = json!({
        "impl": "moa",
        "images": files.len(),
        "img_s_best": rate(best),
        "img_s_median": rate(&passes[passes.len() / 2]),
        "decode_us": decode,
        "resize_us": resize,
        "normalise_us": normalise,
    });
    println!("{line}");
    Ok(())
}

/// Time of each of the three steps over all images.
fn pass(plan: &Preprocess, files: &[Vec<u8>]) -> Result<[Duration; 3]> {
    let mut out = vec![0.0; plan.elem_count()];
    let normalise = Normalise::new(plan.mean, plan.std);
    let mut parts = [Duration::ZERO; 3];
    for bytes in files {
        let start = Instant::now();
        let image = decode_bytes(bytes, "image")?;
        let decoded = Instant::now();
        let fitted = plan.fit(&image);
        let resized = Instant::now();
        normalise.apply_into(&fitted, &mut out);
        let end = Instant::now();
        std::hint::black_box(&out);
        parts[0] += decoded - start;
        parts[1] += resized - decoded;
        parts[2] += end - resized;
    }
    Ok(parts)
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let end = path.extension().unwrap_or_default().to_ascii_lowercase();
        if path.is_dir() {
            find(&path, paths)?;
        } else if end == "jpg" || end == "jpeg" {
            paths.push(path);
        }
    }
    Ok(())
}
