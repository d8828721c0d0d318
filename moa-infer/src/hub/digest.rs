//! What a file must be: its size and its hash.

use super::HubError;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// The hash that the Hub knows a file by. Blobs of the cache are named by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Digest {
    /// Of the content: a file in LFS.
    Sha256(String),
    /// Of git's header and the content: any other file.
    Git(String),
}

impl Digest {
    /// The digest that names a blob, if one does: 64 or 40 hexadecimal digits.
    pub fn of_name(name: &str) -> Option<Self> {
        let hex = name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match name.len() {
            64 if hex => Some(Self::Sha256(name.into())),
            40 if hex => Some(Self::Git(name.into())),
            _ => None,
        }
    }

    /// The hexadecimal digits.
    pub fn name(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::Git(hex) => hex,
        }
    }

    /// Whether a file has this digest.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn fits(&self, path: &Path) -> Result<bool, HubError> {
        let mut file = File::open(path).map_err(HubError::io(path))?;
        let size = file.metadata().map_err(HubError::io(path))?.len();
        let found = match self {
            Self::Sha256(_) => hash(Sha256::new(), &mut file),
            Self::Git(_) => hash(git(size), &mut file),
        };
        Ok(found.map_err(HubError::io(path))? == self.name())
    }
}

/// Of bytes in memory.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The name of a blob in git.
pub fn git_blob(bytes: &[u8]) -> String {
    hex(&git(bytes.len() as u64).chain_update(bytes).finalize())
}

/// Of a whole file.
///
/// # Errors
/// If it cannot be read.
pub fn sha256_of(path: &Path) -> Result<String, HubError> {
    let mut file = File::open(path).map_err(HubError::io(path))?;
    hash(Sha256::new(), &mut file).map_err(HubError::io(path))
}

fn git(size: u64) -> Sha1 {
    Sha1::new().chain_update(format!("blob {size}\0"))
}

fn hash<D: sha2::Digest>(mut hasher: D, file: &mut File) -> std::io::Result<String> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&chunk[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_git_and_of_lfs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "hello\n").unwrap();
        // `git hash-object` and `sha256sum` of that file.
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let sha = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!((git_blob(b"hello\n").as_str(), sha256(b"hello\n").as_str()), (git, sha));
        for name in [git, sha] {
            let digest = Digest::of_name(name).unwrap();
            assert!(digest.fits(&path).unwrap());
            std::fs::write(dir.path().join("b"), "hellO\n").unwrap();
            assert!(!digest.fits(&dir.path().join("b")).unwrap());
        }
        for bad in ["main", &sha[1..], &sha.to_uppercase()] {
            assert_eq!(Digest::of_name(bad), None);
        }
    }
}
