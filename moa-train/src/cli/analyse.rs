//! `moa-train analyse`

use crate::analysis::ANALYSIS_FILE;
use crate::analysis::look::{Amount, look};
use crate::config::Config;
use crate::fit::Data;
use anyhow::{Context, Result};
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
            let analysis =
                look(&predictor, &data, amount).with_context(|| run.display().to_string())?;
            analysis.write(run)?;
            let images = analysis.points.len();
            writeln!(std::io::stdout(), "{}: {images} images", run.join(ANALYSIS_FILE).display())?;
        }
        Ok(())
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
