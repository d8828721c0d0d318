//! `moa-infer predict`

use super::{Model, Prompts};
use crate::csv::quoted;
use crate::evaluate::{batches, rows};
use crate::exit::all_read;
use crate::inputs::expand;
use crate::metrics::{softmax, top_k};
use crate::predictor::Predictor;
use anyhow::{Context, Result};
use moa_core::files::WholeFile;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Classify images
///
/// A bad image is one error row; the run goes on and ends with exit code 1.
#[derive(clap::Args)]
#[command(after_help = "Example: moa-infer predict runs/pacs/best photos/ --topk 3 --format jsonl")]
pub struct Predict {
    /// Adapter, or backbone with a head of its own: a folder, a name, or
    /// owner/name[@revision] of the Hub
    adapter: PathBuf,
    /// Images, folders, patterns, or `-` for a list on standard input
    #[arg(required = true)]
    images: Vec<String>,
    /// How many classes to print, most likely first
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = super::at_least_one)]
    topk: usize,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Short for `--format jsonl`
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// File to write to instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// File that names the classes, one per line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Classes by their names alone, with a CLIP backbone; the adapter's head is not used
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "labels")]
    zero_shot: Vec<String>,
    /// Divide logits by the temperature that the adapter has from its validation images
    #[arg(long, conflicts_with = "zero_shot")]
    calibrated: bool,
    /// Say of images whose most likely class is less likely than P that they are uncertain
    #[arg(long, value_name = "P", value_parser = probability)]
    min_prob: Option<f32>,
    #[command(flatten)]
    prompts: Prompts,
    #[command(flatten)]
    model: Model,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Text,
    Jsonl,
    Csv,
}

impl Predict {
    pub fn run(self) -> Result<()> {
        let mut predictor = self.model.open(&self.adapter)?;
        if !self.zero_shot.is_empty() {
            self.prompts.apply(&mut predictor, &self.zero_shot)?;
        }
        let labels = self.labels(predictor.classes.clone(), predictor.outputs()?)?;
        let temperature = if self.calibrated { predictor.temperature()? } else { 1.0 };
        let predictor = (&predictor, temperature);
        let images = expand(&self.images, std::io::stdin().lock())?;
        let total = images.len();
        let failed = match &self.output {
            None => self.rows(predictor, images, &labels, &mut std::io::stdout().lock())?,
            Some(path) => {
                let mut file = WholeFile::create(path)?;
                let failed = self.rows(predictor, images, &labels, &mut file);
                let failed = failed.with_context(|| path.display().to_string())?;
                file.finish()?;
                failed
            }
        };
        all_read(failed, total)
    }

    /// Writes a row (in CSV, one per class) for every image; returns how many failed.
    fn rows(
        &self,
        (predictor, temperature): (&Predictor, f64),
        images: Vec<PathBuf>,
        labels: &[String],
        out: &mut dyn Write,
    ) -> Result<usize> {
        let format = if self.json { Format::Jsonl } else { self.format };
        if format == Format::Csv {
            let more = if self.min_prob.is_some() { ",uncertain" } else { "" };
            writeln!(out, "path,rank,index,label,prob,error{more}")?;
        }
        let (batch, workers) = (self.model.batch_size, self.model.workers);
        let mut failed = 0;
        for images in batches(predictor, images, batch, workers) {
            for (path, row) in rows(images, |images| predictor.logits(images))? {
                let row = row.map(|logits| softmax(&logits, temperature));
                failed += usize::from(row.is_err());
                self.row(out, format, &path, row, labels)?;
            }
            out.flush()?;
        }
        Ok(failed)
    }

    /// Class names: the file's, else the model's, else the numbers.
    fn labels(&self, own: Option<Vec<String>>, classes: usize) -> Result<Vec<String>> {
        let Some(path) = &self.labels else {
            return Ok(own.unwrap_or_else(|| (0..classes).map(|i| i.to_string()).collect()));
        };
        crate::labels::read(path, classes)
    }

    fn row(
        &self,
        out: &mut dyn Write,
        format: Format,
        path: &Path,
        row: Result<Vec<f32>, moa_core::image::ImageError>,
        labels: &[String],
    ) -> Result<()> {
        let shown = path.to_string_lossy();
        let best = row.map(|probs| {
            let order = top_k(&probs, self.topk);
            order.into_iter().map(|i| (i, probs[i])).collect::<Vec<_>>()
        });
        let sure = |best: &[(usize, f32)]| {
            let limit = self.min_prob?;
            Some(best.first().is_some_and(|(_, p)| *p >= limit))
        };
        match (format, best) {
            (Format::Jsonl, Ok(best)) => {
                let entry =
                    |&(i, p): &(usize, f32)| json!({"index": i, "label": labels[i], "prob": p});
                let topk: Vec<_> = best.iter().map(entry).collect();
                let mut line = json!({"path": shown, "topk": topk});
                if let Some(sure) = sure(&best) {
                    line["uncertain"] = (!sure).into();
                }
                writeln!(out, "{line}")?;
            }
            (Format::Jsonl, Err(error)) => {
                writeln!(out, "{}", json!({"path": shown, "error": error.to_string()}))?;
            }
            (Format::Csv, Ok(best)) => {
                for (rank, (i, p)) in best.iter().enumerate() {
                    let (path, label) = (quoted(&shown), quoted(&labels[*i]));
                    let more = sure(&best).map_or(String::new(), |sure| format!(",{}", !sure));
                    writeln!(out, "{path},{},{i},{label},{p},{more}", rank + 1)?;
                }
            }
            (Format::Csv, Err(error)) => {
                let more = if self.min_prob.is_some() { "," } else { "" };
                writeln!(out, "{},,,,,{}{more}", quoted(&shown), quoted(&error.to_string()))?;
            }
            (Format::Text, Ok(best)) => {
                let entry = |(i, p): &(usize, f32)| format!("{} {:.1} %", labels[*i], 100.0 * p);
                let words: Vec<String> = best.iter().map(entry).collect();
                let mark = if sure(&best) == Some(false) { "uncertain: " } else { "" };
                writeln!(out, "{shown}  {mark}{}", words.join("  "))?;
            }
            (Format::Text, Err(error)) => writeln!(out, "error: {error}")?,
        }
        Ok(())
    }
}

fn probability(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err("must be a number from 0 to 1".into()),
    }
}
