//! `moa-infer inspect`

use super::Model;
use crate::inputs::expand;
use crate::inspect::{Description, describe, usage};
use anyhow::Result;
use std::path::PathBuf;

/// Show what is in an adapter or backbone folder; with images, which experts
/// their tokens go to
#[derive(clap::Args)]
#[command(after_help = "Example: moa-infer inspect runs/pacs/best --images photos/")]
pub struct Inspect {
    /// Adapter folder, or a backbone (name or folder)
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
        let mut description = describe(&self.adapter)?;
        if !self.images.is_empty() {
            let predictor = self.model.open(&self.adapter)?;
            let images = expand(&self.images, std::io::stdin().lock())?;
            let (batch, workers) = (self.model.batch_size, self.model.workers);
            description.usage = usage(&predictor, images, batch, workers)?;
        }
        if self.json {
            println!("{}", serde_json::to_string(&description)?);
        } else {
            print(&description);
        }
        Ok(())
    }
}

fn print(d: &Description) {
    for (key, value) in &d.facts {
        println!("{key:12} {value}");
    }
    println!("\n{:52} {:>20} {:>10}", "tensor", "shape", "numbers");
    for (name, shape) in &d.tensors {
        let shape_text = format!("{shape:?}");
        println!("{name:52} {shape_text:>20} {:>10}", shape.iter().product::<usize>());
    }
    if !d.usage.is_empty() {
        println!("\nshare of tokens per expert");
        for (layer, counts) in &d.usage {
            let total: u64 = counts.iter().sum();
            let share = |n: &u64| format!("{:5.1} %", 100.0 * *n as f64 / total.max(1) as f64);
            println!("{layer:24} {}", counts.iter().map(share).collect::<Vec<_>>().join("  "));
        }
    }
}
