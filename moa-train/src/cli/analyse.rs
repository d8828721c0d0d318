//! `moa-train analyse`

use crate::analysis::ANALYSIS_FILE;
use crate::analysis::curvature::of_run::Setting;
use crate::analysis::curvature::{spectrum, surface};
use crate::analysis::look::{Amount, look};
use crate::config::Config;
use crate::fit::Data;
use crate::run_file;
use anyhow::{Context, Result};
use candle_core::DType;
use indicatif::{ProgressBar, ProgressStyle};
use moa_core::device::DeviceSpec;
use moa_infer::exit::{note, usage};
use moa_infer::predictor::Predictor;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Look at what runs have learned: experts by domain and class, routing maps, features in two
/// dimensions. `report` then draws it
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train analyse runs/pacs/PACS_kadaptation-moa_sketch_t0_h0")]
pub struct Analyse {
    /// Run folders
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Images of each environment and class
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1000))]
    images: u32,
    /// Images of each environment and class with routing maps
    #[arg(long, value_name = "N", default_value_t = 1)]
    maps: u32,
    /// Compute the loss on a square of two random directions around what was trained
    #[arg(long)]
    surface: bool,
    /// Places along each side of the square; odd, so that the middle is one
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = odd)]
    points: usize,
    /// Half the side of the square, in lengths of what was trained
    #[arg(long, value_name = "R", default_value_t = 1.0, value_parser = radius)]
    radius: f64,
    /// Compute the density of eigenvalues of the loss's second derivatives, in double precision
    #[arg(long)]
    spectrum: bool,
    /// Lanczos steps from each random start
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(2..=1000))]
    lanczos: u32,
    /// Random starts
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    starts: u32,
    /// Training images behind the loss
    #[arg(long, value_name = "N", default_value_t = 96, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    loss_images: u32,
    /// Folder of the dataset, if it is elsewhere than the run says
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Backbone, if it is elsewhere than the run says
    #[arg(long, value_name = "SPEC")]
    backbone: Option<String>,
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

impl Analyse {
    pub fn run(self) -> Result<()> {
        let device = self.device.open()?;
        note(format_args!("device: {}", moa_core::device::name(&device)));
        for run in &self.runs {
            let mut config = read(run)?;
            if let Some(root) = &self.data {
                config.data.root.clone_from(root);
            }
            let data = Data::open(&config)?;
            let best = run.join("best");
            let predictor = Predictor::open(&best, self.backbone.as_deref(), &device)?;
            let amount = Amount {
                images: self.images as usize,
                maps: self.maps as usize,
                how: (config.eval.batch, config.data.workers),
                seed: config.train.seed,
            };
            let mut analysis =
                look(&predictor, &data, amount).with_context(|| run.display().to_string())?;
            let setting = |dtype| Setting {
                adapter: &best,
                backbone: self.backbone.as_deref(),
                data: &data,
                images: self.loss_images as usize,
                batch: config.eval.batch,
                device: &device,
                dtype,
            };
            if self.surface {
                let size = (self.radius, self.points);
                let bar = bar(self.points * self.points, "places of the loss");
                let objective = setting(DType::F32).objective()?;
                let step = |n| bar.inc(n as u64);
                analysis.surface = Some(surface(&objective, size, config.train.seed, step)?);
                bar.finish_and_clear();
            }
            if self.spectrum {
                let size = (self.starts as usize, self.lanczos as usize);
                let bar = bar(size.0 * size.1, "Lanczos steps");
                let objective = setting(DType::F64).objective()?;
                let step = |n| bar.inc(n as u64);
                analysis.spectrum = Some(spectrum(&objective, size, config.train.seed, step)?);
                bar.finish_and_clear();
            }
            run_file::write(run, ANALYSIS_FILE, &analysis)?;
            let images = analysis.points.len();
            writeln!(std::io::stdout(), "{}: {images} images", run.join(ANALYSIS_FILE).display())?;
        }
        Ok(())
    }
}

fn bar(length: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {pos}/{len} {wide_bar} {eta}");
    let bar = ProgressBar::new(length as u64).with_message(what);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

fn odd(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(n) if n % 2 == 1 && (3..=1001).contains(&n) => Ok(n),
        _ => Err("must be an odd number from 3 to 1001".into()),
    }
}

fn radius(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(r) if r > 0.0 && r <= 1e3 => Ok(r),
        _ => Err("must be a number above 0".into()),
    }
}

/// The configuration of a run.
fn read(run: &Path) -> Result<Config> {
    let path = run.join("config.toml");
    if !path.is_file() {
        return Err(usage(format!("{}: not a run folder: it has no config.toml", run.display())));
    }
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}
