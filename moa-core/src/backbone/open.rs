//! Opening a backbone and reading its tensors.

use std::collections::BTreeMap;
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
use super::pos_embed::resample;
use super::raw::{DiskTensor, RawTensor};
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
            _ => hf::parse(&file, &map, layout, hf_preprocess::read(&folder, layout)?, &has)?,
        };
        let Parsed { config, preprocess, classes, class_names, keys } = parsed;
        config.check(&file)?;
        check_input(&file, &config, &preprocess)?;
        let body = config.tensors();
        let missing = || BackboneError::folder(folder.path().into(), "no tensor names for this layout");
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
            let reason = format!("holds {} names, but the classifier has {classes} outputs", labels.len());
            return Err(Keys::new(&file, &map).bad("id2label", reason));
        }
        let files = weights.files();
        let source_config = map;
        Ok(Self {
            layout,
            config,
            preprocess,
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

    /// Reads one tensor as `f32`, all values finite.
    ///
    /// # Errors
    /// If there is no such tensor, it cannot be read, or it holds a NaN.
    pub fn read(&self, name: &str) -> Result<RawTensor> {
        let stored = self.names.tensors.get(name).ok_or_else(|| {
            BackboneError::missing(self.path(), name, self.names.tensors.keys())
        })?;
        let pieces = stored.pieces.iter().map(|piece| self.weights.read(piece));
        Ok(stored.join(pieces.collect::<Result<_>>()?))
    }

    /// Reads all tensors.
    ///
    /// # Errors
    /// As [`Backbone::read`].
    pub fn read_all(&self) -> Result<BTreeMap<String, RawTensor>> {
        self.names.tensors.keys().map(|name| Ok((name.clone(), self.read(name)?))).collect()
    }

    /// The position table for a grid of `(rows, columns)` patches, resampled as the
    /// library of this layout does it: `[pos_embed_prefix + rows * columns, dim]`.
    ///
    /// # Errors
    /// If the table cannot be read, or the grid is empty.
    pub fn pos_embed(&self, grid: (usize, usize)) -> Result<Vec<f32>> {
        let config = &self.config;
        let table = self.read("pos_embed")?.data;
        let (prefix, patches) =
            table.split_at_checked(config.pos_embed_prefix * config.dim).unwrap_or_default();
        let resampled = resample(patches, config.grid(), grid, config.dim, config.pos_resample);
        let patches = resampled.ok_or_else(|| BackboneError::Key {
            path: self.path().into(),
            key: "image_size".into(),
            reason: format!("asks for {} x {} patches", grid.0, grid.1),
        })?;
        Ok([prefix, &patches].concat())
    }

    /// SHA-256 of the weights in lower-case hexadecimal: of the file; of several
    /// shards, of their digests (32 bytes each) in the order of their names.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn sha256(&self) -> Result<String> {
        self.weights.sha256()
    }

    /// The names of all tensors on disk, those of other towers included.
    pub fn disk_names(&self) -> impl Iterator<Item = &str> {
        self.weights.entries.keys().map(String::as_str)
    }

    /// Reads a tensor by its name on disk, such as one of the text tower.
    ///
    /// # Errors
    /// As [`Backbone::read`].
    pub fn read_disk(&self, name: &str) -> Result<RawTensor> {
        self.weights.read(name)
    }

    /// A tensor by its name on disk, as it is stored.
    ///
    /// # Errors
    /// If there is no such tensor or it cannot be read.
    pub fn stored(&self, name: &str) -> Result<DiskTensor> {
        self.weights.stored(name)
    }
}

/// The input must be whole patches.
fn check_input(file: &Path, config: &VitConfig, preprocess: &Preprocess) -> Result<()> {
    let fail = |key: &str, reason: String| {
        Err(BackboneError::Key { path: file.into(), key: key.into(), reason })
    };
    if let Err(error) = preprocess.check() {
        return fail("preprocessing", format!("cannot be used: {error}"));
    }
    let (height, width, patch) = (preprocess.height, preprocess.width, config.patch_size);
    if height % patch != 0 || width % patch != 0 {
        return fail("preprocessing", format!("gives {height} x {width}, not whole patches of {patch}"));
    }
    Ok(())
}
