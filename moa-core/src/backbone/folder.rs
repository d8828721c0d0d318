//! The files of a backbone: a folder on disk, or bytes inside the program.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::{BackboneError, Result};

/// Where the files are.
#[derive(Clone)]
pub(super) enum Folder {
    /// A folder on disk.
    Disk(PathBuf),
    /// Named bytes; the label stands for the folder in messages.
    Memory(PathBuf, Vec<(String, &'static [u8])>),
}

impl Folder {
    /// A folder that must exist.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        match fs::metadata(dir) {
            Ok(found) if found.is_dir() => Ok(Self::Disk(dir.into())),
            Ok(_) => {
                let reason = "a backbone is a folder: name the folder that holds this file";
                Err(BackboneError::unusable(dir.into(), reason))
            }
            Err(source) => Err(BackboneError::Io { path: dir.into(), source }),
        }
    }

    /// The folder, or the label.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Disk(path) | Self::Memory(path, _) => path,
        }
    }

    /// The path of a file, there or not.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The bytes of a file in memory.
    pub(super) fn bytes(&self, name: &str) -> Option<&'static [u8]> {
        match self {
            Self::Disk(_) => None,
            Self::Memory(_, files) => files.iter().find(|(n, _)| n == name).map(|(_, b)| *b),
        }
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Disk(dir) => dir.join(name).is_file(),
            Self::Memory(..) => self.bytes(name).is_some(),
        }
    }

    /// The names of all files, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Self::Disk(dir) => {
                let entries = fs::read_dir(dir).into_iter().flatten().flatten();
                entries.filter_map(|e| e.file_name().into_string().ok()).collect()
            }
            Self::Memory(_, files) => files.iter().map(|(name, _)| name.clone()).collect(),
        };
        names.sort();
        names
    }

    /// A whole file; meant for configurations.
    pub(super) fn read(&self, name: &str) -> Result<Cow<'static, [u8]>> {
        let path = self.file(name);
        match self {
            Self::Disk(_) => Ok(Cow::Owned(fs::read(&path).map_err(BackboneError::io(&path))?)),
            Self::Memory(..) => self.bytes(name).map(Cow::Borrowed).ok_or_else(|| {
                BackboneError::unusable(self.path().into(), format!("there is no {name}"))
            }),
        }
    }

    /// A JSON file that holds an object.
    pub(super) fn json(&self, name: &str) -> Result<Map<String, Value>> {
        let bytes = self.read(name)?;
        let fail = |reason: String| BackboneError::Json { path: self.file(name), reason };
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(fail("an object { ... } is expected".into())),
            Err(error) => Err(fail(error.to_string())),
        }
    }
}
