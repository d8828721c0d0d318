//! What a trained run has learned, for the pictures of its report: `analysis.json`.
//!
//! | module | what |
//! |---|---|
//! | [`look`] | features and routes of some images of every environment and class |
//! | [`curvature`] | the loss around what was trained |
//! | [`vector`] | products and lengths |
//! | [`pca`], [`tsne`] | features in two dimensions |

pub mod curvature;
pub mod look;
pub mod pca;
pub mod tsne;
pub mod vector;

use serde::{Deserialize, Serialize};

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

impl Environment {
    /// Its name, with a star if it was left out of training.
    pub fn label(&self) -> String {
        format!("{}{}", self.name, if self.held_out { " *" } else { "" })
    }
}
