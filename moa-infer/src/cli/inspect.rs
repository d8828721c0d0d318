//! `moa-infer inspect`

use super::Model;
use crate::exit::all_read;
use crate::inputs::expand;
use crate::inspect::{Description, describe, usage};
use anyhow::Result;
use std::io::Write;
use std::path::PathBuf;

/// Show what is in an adapter or backbone folder; with images, which experts
/// their tokens go to
#[derive(clap::Args)]
#[command(after_help = "Example: moa-infer inspect runs/pacs/best --images photos/")]
pub struct Inspect {
    /// Adapter or backbone: a folder, a name, or owner/name[@revision] of the Hub
    adapter: PathBuf,
    /// Images to route: files, folders, patterns
    #[arg(long, value_name = "IMAGE", num_args = 1..)]
    images: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: Model,
}

impl Inspect {
    pub fn run(self) -> Result<()> {
        let (mut description, mut failed) = (describe(&self.adapter)?, 0);
        let mut total = 0;
        if !self.images.is_empty() {
            let predictor = self.model.open(&self.adapter)?;
            let images = expand(&self.images, std::io::stdin().lock())?;
            let (batch, workers) = (self.model.batch_size, self.model.workers);
            total = images.len();
            (description.usage, failed) = usage(&predictor, images, batch, workers)?;
        }
        let mut out = std::io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string(&description)?)?,
            false => print(&description, &mut out)?,
        }
        all_read(failed, total)
    }
}

fn print(d: &Description, out: &mut impl Write) -> std::io::Result<()> {
    for (key, value) in &d.facts {
        writeln!(out, "{key:12} {value}")?;
    }
    writeln!(out, "\n{:52} {:>20} {:>10}", "tensor", "shape", "numbers")?;
    for (name, shape) in &d.tensors {
        let shape_text = format!("{shape:?}");
        let numbers = shape.iter().product::<usize>();
        writeln!(out, "{name:52} {shape_text:>20} {numbers:>10}")?;
    }
    if !d.usage.is_empty() {
        writeln!(out, "\nshare of tokens per expert")?;
    }
    for (layer, counts) in &d.usage {
        let total: u64 = counts.iter().sum();
        let share = |n: &u64| format!("{:5.1} %", 100.0 * *n as f64 / total.max(1) as f64);
        writeln!(out, "{layer:24} {}", counts.iter().map(share).collect::<Vec<_>>().join("  "))?;
    }
    Ok(())
}
