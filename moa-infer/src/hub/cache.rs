//! The cache of `huggingface_hub`, shared with Python: `models--owner--name` with `blobs`
//! named by hash, `refs` from revisions to commits, and `snapshots` of links to blobs.

use super::id::is_commit;
use super::{Digest, HubError, HubSpec, RepoId, Settings};
use crate::exit::note;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The folder of one repository.
#[derive(Clone, Debug)]
pub struct Cached {
    folder: PathBuf,
    locks: PathBuf,
}

impl Cached {
    /// There or not.
    pub fn new(settings: &Settings, repo: &RepoId) -> Self {
        Self {
            folder: settings.cache.join(repo.folder()),
            locks: settings.cache.join(".locks").join(repo.folder()),
        }
    }

    /// The folder of a commit's files.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Where a file's content is.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.name())
    }

    /// The commit that a revision was when it was last asked for.
    pub fn commit(&self, spec: &HubSpec) -> Option<String> {
        let revision = spec.revision();
        if is_commit(revision) {
            return Some(revision.into());
        }
        let text = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Writes down what commit a revision is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set_commit(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if is_commit(revision) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        if fs::read_to_string(&path).is_ok_and(|text| text == commit) {
            return Ok(()); // a cache that is only read needs no more
        }
        make_parent(&path)?;
        // Renamed, so that nobody reads half of it.
        let own = path.with_file_name(format!(".{}.{}", commit, std::process::id()));
        fs::write(&own, commit).map_err(HubError::io(&own))?;
        fs::rename(&own, &path).map_err(HubError::io(&path))
    }

    /// Waits until no other process fetches this blob; the lock is Python's, too.
    ///
    /// # Errors
    /// If the lock's file cannot be made.
    pub fn lock(&self, digest: &Digest) -> Result<File, HubError> {
        let path = self.locks.join(format!("{}.lock", digest.name()));
        make_parent(&path)?;
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(HubError::io(&path))?;
        if file.try_lock().is_err() {
            note(format_args!("waiting for another process that fetches {:.12}...", digest.name()));
            file.lock().map_err(HubError::io(&path))?;
        }
        Ok(file)
    }

    /// Makes a blob a file of a snapshot.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn link(&self, commit: &str, path: &str, digest: &Digest) -> Result<(), HubError> {
        let pointer = self.snapshot(commit).join(path);
        make_parent(&pointer)?;
        let up = "../".repeat(2 + path.matches('/').count());
        let target = format!("{up}blobs/{}", digest.name());
        let is_link = fs::read_link(&pointer).is_ok_and(|to| to == Path::new(&target));
        // A copy, where there are no links, that is still whole.
        if is_link || (!cfg!(unix) && digest.fits(&pointer).unwrap_or(false)) {
            return Ok(());
        }
        match fs::remove_file(&pointer) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(HubError::io(&pointer)(e));
            }
            _ => {}
        }
        #[cfg(unix)]
        let made = std::os::unix::fs::symlink(&target, &pointer);
        // Links need a privilege there; so does Python.
        #[cfg(not(unix))]
        let made = fs::copy(self.blob(digest), &pointer).map(drop);
        made.map_err(HubError::io(&pointer))
    }
}

/// Makes the folder that a file is to be in.
pub(super) fn make_parent(path: &Path) -> Result<(), HubError> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(HubError::io(parent)),
        None => Ok(()),
    }
}
