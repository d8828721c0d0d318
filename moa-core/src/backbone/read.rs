//! Reading the tensors of a backbone.

use std::collections::BTreeMap;

use super::error::{BackboneError, Result};
use super::open::Backbone;
use super::pos_embed::resample;
use super::raw::{DiskTensor, RawTensor};

impl Backbone {
    /// Reads one tensor as `f32`, all values finite.
    ///
    /// # Errors
    /// If there is no such tensor, it cannot be read, or it holds a NaN.
    pub fn read(&self, name: &str) -> Result<RawTensor> {
        let stored =
            self.names.tensors.get(name).ok_or_else(|| {
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
