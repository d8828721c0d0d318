//! One file of weights, on disk or in memory.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use super::error::{BackboneError, Result};

/// One file of weights.
#[derive(Clone)]
pub(super) enum Source {
    Disk(PathBuf),
    Memory(PathBuf, &'static [u8]),
}

/// A file that can be read from any place.
pub(super) trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

impl Source {
    /// Its path, or label.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Disk(path) | Self::Memory(path, _) => path,
        }
    }

    /// The file at its beginning, and its length.
    pub(super) fn open(&self) -> Result<(Box<dyn ReadSeek>, u64)> {
        match self {
            Self::Disk(path) => {
                let file = File::open(path).map_err(BackboneError::io(path))?;
                let length = file.metadata().map_err(BackboneError::io(path))?.len();
                Ok((Box::new(file), length))
            }
            Self::Memory(_, bytes) => {
                Ok((Box::new(std::io::Cursor::new(*bytes)), bytes.len() as u64))
            }
        }
    }
}
