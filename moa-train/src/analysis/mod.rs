//! What a trained run has learned, for the pictures of its report: `analysis.json`.
//!
//! | module | what |
//! |---|---|
//! | [`look`] | features and routes of some images of every environment and class |
//! | [`curvature`] | the loss around what was trained |
//! | [`pca`], [`tsne`] | features in two dimensions |

pub mod curvature;
pub mod look;
pub mod pca;
pub mod tsne;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Name of the file in a run folder.
pub const ANALYSIS_FILE: &str = "analysis.json";

/// The content of the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Analysis {
    /// Class names.
    pub classes: Vec<String>,
    /// Environments in order.
    pub envs: Vec<Environment>,
    /// Which experts took how many tokens, by routed layer.
    pub usage: Vec<LayerUsage>,
    /// Names of the experts.
    pub experts: Vec<String>,
    /// Images in two dimensions.
    pub points: Vec<Point>,
    /// Images with the experts of their patches.
    pub maps: Vec<ImageMaps>,
    /// Rows and columns of patches.
    pub grid: (usize, usize),
    /// The loss around what was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<curvature::Surface>,
    /// Eigenvalues of the loss there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectrum: Option<curvature::Spectrum>,
}

/// An environment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// Whether it was left out of training.
    pub held_out: bool,
}

/// Tokens of one layer by environment, class and expert.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LayerUsage {
    /// Name in the checkpoint.
    pub layer: String,
    /// `tokens[environment][class][expert]`.
    pub tokens: Vec<Vec<Vec<u64>>>,
}

/// One image's feature in two dimensions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Place of its environment.
    pub env: usize,
    /// Its class.
    pub class: usize,
    /// First two principal components.
    pub pca: [f64; 2],
    /// Place in the t-SNE map.
    pub tsne: [f64; 2],
}

/// One image with its maps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageMaps {
    /// Place of its environment.
    pub env: usize,
    /// Its class.
    pub class: usize,
    /// The image as the model sees it: a PNG in base64.
    pub png: String,
    /// Experts by layer.
    pub layers: Vec<moa_infer::routes::map::LayerMap>,
}

impl Analysis {
    /// Writes the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, run: &Path) -> Result<()> {
        let text = serde_json::to_string(self)? + "\n";
        Ok(moa_core::files::write_whole(&run.join(ANALYSIS_FILE), text)?)
    }

    /// Reads the file of a run; nothing if it has none.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        let path = run.join(ANALYSIS_FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Some(serde_json::from_str(&text).with_context(|| path.display().to_string())?))
    }
}
