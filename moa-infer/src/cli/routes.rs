//! `moa-infer routes`

use super::Model;
use crate::evaluate::batches;
use crate::exit::{all_read, note, require_free};
use crate::inputs::expand;
use crate::predictor::Predictor;
use crate::routes::map::{LayerMap, experts, grid, maps};
use crate::routes::picture::{as_seen, picture, png};
use anyhow::{Result, ensure};
use moa_core::files::{replace_dir, write_synced};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Draw which expert each patch of an image goes to, layer by layer
///
/// A PNG for each image, and routes.json with the numbers behind them.
#[derive(clap::Args)]
#[command(after_help = "Example: moa-infer routes runs/pacs/best photos/ --out routes/")]
pub struct Routes {
    /// Adapter with a router: a folder, or owner/name[@revision] of the Hub
    adapter: PathBuf,
    /// Images, folders, patterns, or `-` for a list on standard input
    #[arg(required = true)]
    images: Vec<String>,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    model: Model,
}

impl Routes {
    pub fn run(self) -> Result<()> {
        require_free(&self.out)?;
        let predictor = self.model.open(&self.adapter)?;
        let experts = experts(&predictor);
        ensure!(!experts.is_empty(), "nothing is routed: the method has no router");
        let images = expand(&self.images, std::io::stdin().lock())?;
        let total = images.len();
        let mut failed = 0;
        replace_dir(&self.out, |dir| self.draw(dir, &predictor, &experts, images, &mut failed))?;
        let drawn = total - failed;
        let pictures = if drawn == 1 { "picture" } else { "pictures" };
        writeln!(std::io::stdout(), "{drawn} {pictures} in {}", self.out.display())?;
        all_read(failed, total)
    }

    fn draw(
        &self,
        dir: &Path,
        predictor: &Predictor,
        experts: &[String],
        images: Vec<PathBuf>,
        failed: &mut usize,
    ) -> Result<()> {
        let (batch, workers) = (self.model.batch_size, self.model.workers);
        let (mut taken, mut rows) = (BTreeSet::new(), Vec::<Value>::new());
        for images in batches(predictor, images, batch, workers) {
            let (mut paths, mut pixels) = (Vec::new(), Vec::new());
            for (path, image) in images {
                match image {
                    Ok(image) => {
                        paths.push(path);
                        pixels.push(image);
                    }
                    Err(error) => {
                        note(error);
                        *failed += 1;
                    }
                }
            }
            if pixels.is_empty() {
                continue;
            }
            let all: Vec<Vec<LayerMap>> = maps(predictor, &pixels)?;
            for ((path, pixels), maps) in paths.iter().zip(&pixels).zip(all) {
                let seen = as_seen(pixels, &predictor.preprocess)?;
                let drawn = picture(&seen, grid(predictor), &maps, experts);
                let name = free_name(path, &mut taken);
                write_synced(&dir.join(&name), png(&drawn)?)?;
                rows.push(json!({"path": path.to_string_lossy(), "picture": name, "layers": maps}));
            }
        }
        let (height, width) = grid(predictor);
        let text = json!({"experts": experts, "grid": [height, width], "images": rows});
        Ok(write_synced(&dir.join("routes.json"), format!("{text}\n"))?)
    }
}

/// The image's name with `.png`, numbered if there is such a one.
fn free_name(path: &Path, taken: &mut BTreeSet<String>) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let names =
        std::iter::once(format!("{stem}.png")).chain((2..).map(|n| format!("{stem}-{n}.png")));
    let free = names.into_iter().find(|name| !taken.contains(name)).unwrap_or(stem);
    taken.insert(free.clone());
    free
}
