//! Weights on disk: one safetensors file, or several with an index.
//!
//! Only headers are read at first. A tensor is read by its offset when it is
//! wanted, so a checkpoint never lies in memory twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::SeekFrom;
use std::path::PathBuf;

use safetensors::tensor::Dtype;
use sha2::{Digest, Sha256};

use super::detect::Layout;
use super::error::{BackboneError, Result};
use super::folder::Folder;
use super::header::read_header;
use super::raw::{DiskTensor, RawTensor, decode};
use super::shards::{absent, shards};
use super::source::Source;
use crate::hash::{absorb, hex};

/// Where a tensor lies.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// First byte in the file.
    pub start: u64,
    /// Number of bytes.
    pub length: usize,
    source: usize,
}

/// The tensors of a checkpoint, by their names on disk.
#[derive(Clone)]
pub(super) struct Weights {
    /// The folder, for messages.
    pub path: PathBuf,
    sources: Vec<Source>,
    pub entries: BTreeMap<String, Entry>,
}

impl Weights {
    /// Finds the files of a layout and reads their headers.
    pub(super) fn open(folder: &Folder, layout: Layout) -> Result<Self> {
        let single = format!("{}.safetensors", layout.weights_stem());
        let index = format!("{single}.index.json");
        let sharded = !folder.has(&single);
        let files: BTreeSet<String> = match sharded {
            false => BTreeSet::from([single]),
            true if folder.has(&index) => shards(folder, &index)?.into_values().collect(),
            true => return Err(absent(folder, single)),
        };
        let mut weights =
            Self { path: folder.path().into(), sources: vec![], entries: BTreeMap::new() };
        for name in &files {
            weights.add(folder, name)?;
        }
        if sharded {
            weights.compare(folder, &index)?;
        }
        Ok(weights)
    }

    fn add(&mut self, folder: &Folder, name: &str) -> Result<()> {
        let path = folder.file(name);
        let source = match folder.bytes(name) {
            Some(bytes) => Source::Memory(path.clone(), bytes),
            None => Source::Disk(path.clone()),
        };
        let (mut reader, length) = source.open()?;
        let header = read_header(&path, &mut reader, length)?;
        let number = self.sources.len();
        self.sources.push(source);
        for (tensor, (dtype, shape, start, length)) in header {
            let entry = Entry { dtype, shape, start, length, source: number };
            if self.entries.insert(tensor.clone(), entry).is_some() {
                let reason =
                    format!("tensor `{tensor}` is also in another shard; fetch the files again");
                return Err(BackboneError::damaged(&path, reason));
            }
        }
        Ok(())
    }

    /// The index and the headers must name the same tensors in the same files.
    fn compare(&self, folder: &Folder, index: &str) -> Result<()> {
        let (path, listed) = (folder.file(index), shards(folder, index)?);
        for (tensor, file) in &listed {
            let found = self.entries.get(tensor).and_then(|entry| self.sources.get(entry.source));
            if found.is_none_or(|source| source.path() != folder.file(file)) {
                let reason = format!("tensor `{tensor}` is not in {file}, where the index puts it");
                return Err(BackboneError::damaged(&path, reason));
            }
        }
        match self.entries.keys().find(|tensor| !listed.contains_key(*tensor)) {
            None => Ok(()),
            Some(tensor) => {
                let reason = format!("tensor `{tensor}` is in a shard but not in the index");
                Err(BackboneError::damaged(&path, reason))
            }
        }
    }

    /// The files on disk, sorted by name; none for weights in memory.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let on_disk = |source: &Source| match source {
            Source::Disk(path) => Some(path.clone()),
            Source::Memory(..) => None,
        };
        self.sources.iter().filter_map(on_disk).collect()
    }

    /// The file that holds a tensor, for messages.
    pub(super) fn file_of(&self, name: &str) -> PathBuf {
        let source = self.entries.get(name).and_then(|entry| self.sources.get(entry.source));
        source.map_or(self.path.as_path(), Source::path).into()
    }

    /// A tensor as it is stored.
    pub(super) fn stored(&self, name: &str) -> Result<DiskTensor> {
        let missing = || BackboneError::missing(&self.path, name, self.entries.keys());
        let entry = self.entries.get(name).ok_or_else(missing)?;
        let source = self.sources.get(entry.source).ok_or_else(missing)?;
        let mut bytes = vec![0; entry.length];
        let (mut reader, _) = source.open()?;
        let read =
            reader.seek(SeekFrom::Start(entry.start)).and_then(|_| reader.read_exact(&mut bytes));
        read.map_err(BackboneError::io(source.path()))?;
        Ok(DiskTensor { dtype: entry.dtype, shape: entry.shape.clone(), bytes })
    }

    /// A tensor as numbers, all of them finite.
    pub(super) fn read(&self, name: &str) -> Result<RawTensor> {
        let stored = self.stored(name)?;
        let path = || self.file_of(name);
        let Some(data) = decode(stored.dtype, &stored.bytes) else {
            let (name, dtype) = (name.into(), format!("{:?}", stored.dtype));
            return Err(BackboneError::Dtype { path: path(), name, dtype });
        };
        if data.iter().any(|value| !value.is_finite()) {
            return Err(BackboneError::NotFinite { path: path(), name: name.into() });
        }
        Ok(RawTensor { shape: stored.shape, data })
    }

    /// SHA-256 of the file; of several, SHA-256 of their digests (32 bytes each) in
    /// the order of their names. Lower-case hexadecimal.
    pub(super) fn sha256(&self) -> Result<String> {
        let mut digests: Vec<Vec<u8>> = Vec::new();
        for source in &self.sources {
            let (reader, _) = source.open()?;
            let hash = absorb(Sha256::new(), reader).map_err(BackboneError::io(source.path()))?;
            digests.push(hash.finalize().to_vec());
        }
        let digest = match digests.as_slice() {
            [one] => one.clone(),
            several => Sha256::digest(several.concat()).to_vec(),
        };
        Ok(hex(digest))
    }
}
