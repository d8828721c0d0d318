//! Opening a backbone.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::check::Check;
use super::config::VitConfig;
use super::detect::{Layout, detect};
use super::error::{BackboneError, Result};
use super::folder::Folder;
use super::json::Keys;
use super::names::NameMap;
use super::parsed::Parsed;
use super::weights::Weights;
use super::{hf, hf_preprocess, open_clip, timm};
use crate::image::Preprocess;

/// A pretrained vision transformer on disk (or inside the program), checked but
/// not yet read.
#[derive(Clone)]
pub struct Backbone {
    /// How it is stored.
    pub layout: Layout,
    /// Its architecture.
    pub config: VitConfig,
    /// How images become its input.
    pub preprocess: Preprocess,
    /// The file that says so. If none, the folder has no such file and `preprocess`
    /// is what the library does by default: worth a warning.
    pub preprocess_file: Option<PathBuf>,
    /// Outputs of its own classifier.
    pub classes: Option<usize>,
    /// Their names, if it carries any.
    pub class_names: Option<Vec<String>>,
    /// The weight files, sorted by name; none if it is inside the program.
    pub files: Vec<PathBuf>,
    /// The configuration as it is on disk, for what is not about images (such as
    /// the text tower).
    pub source_config: Map<String, Value>,
    pub(super) folder: Folder,
    pub(super) names: NameMap,
    pub(super) weights: Weights,
}

impl fmt::Debug for Backbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.folder.path();
        f.debug_struct("Backbone")
            .field("path", &path)
            .field("layout", &self.layout)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Backbone {
    /// Opens a folder in any of the six layouts. Reads the configuration and the
    /// headers of the weights, and checks every name and shape.
    ///
    /// # Errors
    /// One line that names what is missing, damaged, contradictory or not
    /// supported.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::from_folder(Folder::open(dir)?)
    }

    /// A backbone inside the program: the files of a folder by name. `label`
    /// stands for the folder in messages.
    ///
    /// # Errors
    /// As [`Backbone::open`].
    pub fn from_bytes(label: &str, files: &[(&str, &'static [u8])]) -> Result<Self> {
        let files = files.iter().map(|&(name, bytes)| (name.to_owned(), bytes)).collect();
        Self::from_folder(Folder::Memory(label.into(), files))
    }

    fn from_folder(folder: Folder) -> Result<Self> {
        let (layout, map) = detect(&folder)?;
        let file = folder.file(layout.config_file());
        let weights = Weights::open(&folder, layout)?;
        let has = |name: &str| weights.entries.contains_key(name);
        let parsed = match layout {
            Layout::Timm => timm::parse(&file, &map)?,
            Layout::OpenClip => open_clip::parse(&file, &map)?,
            _ => hf::parse(&file, &map, layout, &has)?,
        };
        let Parsed { config, preprocess, classes, class_names, keys } = parsed;
        config.check(&file)?;
        let (preprocess, preprocess_file) = match preprocess {
            Some(preprocess) => (preprocess, Some(file.clone())),
            None => hf_preprocess::read(&folder, layout, config.image_size)?,
        };
        check_input(preprocess_file.as_ref().unwrap_or(&file), &config, &preprocess)?;
        let body = config.tensors();
        let missing =
            || BackboneError::unusable(folder.path().into(), "no tensor names for this layout");
        let mut names = NameMap::choose(layout, &body, config.mlp, &has).ok_or_else(missing)?;
        let classes = config.head_width().map(|width| {
            // The configuration of transformers does not tell; the tensor does.
            let rows = || {
                let name = names.would_be("head.weight", config.mlp).into_iter().next()?;
                weights.entries.get(&name)?.shape.first().copied()
            };
            let classes = classes.or_else(rows).unwrap_or(1);
            names.add("head.weight", vec![classes, width], config.mlp);
            names.add("head.bias", vec![classes], config.mlp);
            classes
        });
        if let Some(width) = config.projection_dim {
            names.add("projection.weight", vec![width, config.dim], config.mlp);
        }
        Check { path: &file, config: &config, keys, names: &names, weights: &weights }.run()?;
        if let (Some(classes), Some(labels)) = (classes, &class_names)
            && labels.len() != classes
        {
            let reason =
                format!("holds {} names, but the classifier has {classes} outputs", labels.len());
            return Err(Keys::new(&file, &map).bad("id2label", reason));
        }
        let files = weights.files();
        let source_config = map;
        Ok(Self {
            layout,
            config,
            preprocess,
            preprocess_file,
            classes,
            class_names,
            files,
            source_config,
            folder,
            names,
            weights,
        })
    }

    /// The folder, or the label of a backbone inside the program.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether it has a classifier of its own.
    pub fn has_head(&self) -> bool {
        self.config.head.is_some()
    }

    /// Name and shape of every tensor that can be [read](Backbone::read), under
    /// timm's names: the transformer, `head.weight` `[classes, width]`, `head.bias`,
    /// and CLIP's `projection.weight` `[projection_dim, dim]`.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.names.tensors.iter().map(|(name, stored)| (name.as_str(), stored.shape.as_slice()))
    }
}

/// The input must be possible, and whole patches.
fn check_input(file: &Path, config: &VitConfig, preprocess: &Preprocess) -> Result<()> {
    let fail = |reason: String| Err(BackboneError::unusable(file.into(), reason));
    if let Err(error) = preprocess.check() {
        return fail(error.to_string());
    }
    let (height, width, patch) = (preprocess.height, preprocess.width, config.patch_size);
    if [height, width].iter().any(|side| !side.is_multiple_of(patch)) {
        return fail(format!(
            "gives inputs of {height} x {width}, which are not whole patches of {patch}"
        ));
    }
    Ok(())
}
