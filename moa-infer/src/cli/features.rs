//! `moa-infer features`

use super::Model;
use crate::exit::{all_read, note};
use crate::features::{check_output, extract};
use crate::inputs::expand;
use anyhow::Result;
use moa_core::image::{Interpolation, ResizeRule};
use std::io::Write;
use std::path::PathBuf;

/// Write the pooled feature of every image
#[derive(clap::Args)]
#[command(after_help = "Example: moa-infer features vit-tiny/ photos/ --out features.npy")]
pub struct Features {
    /// Adapter or backbone: a folder, a name, or owner/name[@revision] of the Hub
    adapter: PathBuf,
    /// Images, folders, patterns, or `-` for a list on standard input
    #[arg(required = true)]
    images: Vec<String>,
    /// File to write, .safetensors or .npy; the paths go to the same name with .json
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Squash the whole image to the input size (bilinear, as DomainBed does)
    /// instead of the backbone's own resize and crop
    #[arg(long)]
    squash: bool,
    #[command(flatten)]
    model: Model,
}

impl Features {
    pub fn run(self) -> Result<()> {
        check_output(&self.out)?;
        let mut predictor = self.model.open(&self.adapter)?;
        if self.squash {
            predictor.preprocess.resize = ResizeRule::Squash;
            predictor.preprocess.interpolation = Interpolation::Bilinear;
        }
        let images = expand(&self.images, std::io::stdin().lock())?;
        let (batch, workers) = (self.model.batch_size, self.model.workers);
        let features = extract(&predictor, images, batch, workers)?;
        features.failed.iter().for_each(note);
        anyhow::ensure!(!features.paths.is_empty(), "no image could be read");
        features.write(&self.out)?;
        writeln!(
            std::io::stdout(),
            "{} x {} -> {}",
            features.paths.len(),
            features.dim,
            self.out.display()
        )?;
        let failed = features.failed.len();
        all_read(failed, failed + features.paths.len())
    }
}
