//! A repository's adapter or backbone as a folder of the cache.

use super::cache::Cached;
use super::fetch::Fetch;
use super::http::Http;
use super::repo::RepoFile;
use super::select::{Selection, Unusable, select, shards};
use super::{Digest, HubError, HubSpec};
use crate::exit::note;
use std::path::{Path, PathBuf};

/// What was pulled.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The folder with its files.
    pub folder: PathBuf,
    /// The repository at its commit.
    pub pinned: HubSpec,
    /// Bytes that were fetched now.
    pub fetched: u64,
}

/// Largest file beside the weights, in bytes: they are read as a whole.
const LARGEST: u64 = 64 << 20;

/// Fetches what is missing, checks everything, and returns the folder. Without network or while
/// the Hub is down, or if nothing may be asked, what the cache has.
///
/// # Errors
/// If something cannot be had whole.
pub fn pull(http: &Http, spec: &HubSpec) -> Result<Pulled, HubError> {
    if http.settings.offline {
        return cached(http, spec)?.ok_or_else(|| HubError::NotCached(spec.clone()));
    }
    match from_hub(http, spec) {
        Err(error) if error.is_passing() => {
            let found = cached(http, spec)?;
            if let Some(Pulled { pinned, .. }) = &found {
                note(format_args!("{error}; {pinned} is taken from the cache"));
            }
            found.ok_or(error)
        }
        done => done,
    }
}

fn from_hub(http: &Http, spec: &HubSpec) -> Result<Pulled, HubError> {
    let commit = http.commit_of(spec)?;
    let pinned = HubSpec { repo: spec.repo.clone(), revision: Some(commit.clone()) };
    let repository = Repository { http, cached: Cached::new(&http.settings, &spec.repo), pinned };
    let fetched = repository.take(&http.files_of(&spec.repo, &commit)?)?;
    repository.cached.set_commit(spec.revision(), &commit)?;
    let folder = repository.cached.snapshot(&commit);
    Ok(Pulled { folder, pinned: repository.pinned, fetched })
}

struct Repository<'a> {
    http: &'a Http,
    cached: Cached,
    pinned: HubSpec,
}

impl Repository<'_> {
    /// All that is wanted of `files`; returns how many bytes had to come.
    fn take(&self, files: &[RepoFile]) -> Result<u64, HubError> {
        let names = files.iter().map(|file| file.path.as_str());
        let selection = select(names).map_err(|e| unusable(&self.pinned, e))?;
        let mut fetched = 0;
        for name in &selection.files {
            fetched += self.take_one(files, name)?;
        }
        for name in
            indexed(&selection, &self.cached.snapshot(self.pinned.revision()), &self.pinned)?
        {
            fetched += self.take_one(files, &name)?;
        }
        Ok(fetched)
    }

    fn take_one(&self, files: &[RepoFile], name: &str) -> Result<u64, HubError> {
        let missing = || unusable(&self.pinned, Unusable::Missing(format!("there is no {name}")));
        let file = files.iter().find(|file| file.path == name).ok_or_else(missing)?;
        if file.size > LARGEST && !name.ends_with(".safetensors") {
            let reason = format!("{name} has {} bytes, more than is read", file.size);
            return Err(HubError::Answer(self.pinned.to_string(), reason));
        }
        let fetch = Fetch { http: self.http, cached: &self.cached, spec: &self.pinned, file };
        let there = fetch.is_there()?;
        if !there {
            fetch.run()?;
        }
        self.cached.link(self.pinned.revision(), name, &file.digest)?;
        Ok(if there { 0 } else { file.size })
    }
}

/// What the cache has of a revision, if it is whole; who fetched it does not matter.
fn cached(http: &Http, spec: &HubSpec) -> Result<Option<Pulled>, HubError> {
    let cached = Cached::new(&http.settings, &spec.repo);
    let Some(commit) = cached.commit(spec) else { return Ok(None) };
    let folder = cached.snapshot(&commit);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(None) };
    let names: Vec<_> =
        entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    let Ok(selection) = select(names.iter().map(String::as_str)) else { return Ok(None) };
    let is_there = |name: &String| folder.join(name).is_file();
    if !selection.files.iter().all(is_there) {
        return Ok(None);
    }
    let shards = indexed(&selection, &folder, spec)?;
    if !shards.iter().all(is_there) {
        return Ok(None);
    }
    for name in selection.files.iter().chain(&shards) {
        if !is_sound(&folder.join(name))? {
            return Err(HubError::CacheDamaged(spec.clone(), name.clone()));
        }
    }
    let pinned = HubSpec { repo: spec.repo.clone(), revision: Some(commit) };
    Ok(Some(Pulled { folder, pinned, fetched: 0 }))
}

/// The weight files that the selection's index names, if it has one.
fn indexed(selection: &Selection, folder: &Path, spec: &HubSpec) -> Result<Vec<String>, HubError> {
    let Some(index) = &selection.index else { return Ok(Vec::new()) };
    let path = folder.join(index);
    let text = std::fs::read(&path).map_err(HubError::io(&path))?;
    let bad = |reason| HubError::Nothing(spec.clone(), format!("{index}: {reason}"));
    Ok(shards(&text).map_err(bad)?.into_iter().collect())
}

/// Whether a file of a snapshot is what its blob's name says. A copy, as Python makes
/// where there are no links, has no such name. Of several links in a row the first counts:
/// Python shares blobs among repositories under xet's hash.
fn is_sound(path: &Path) -> Result<bool, HubError> {
    let blob = std::fs::read_link(path).ok();
    match blob.and_then(|blob| Digest::of_name(blob.file_name()?.to_str()?)) {
        Some(digest) => digest.fits(path),
        None => Ok(true),
    }
}

fn unusable(spec: &HubSpec, why: Unusable) -> HubError {
    match why {
        Unusable::Pickles(name) => HubError::Pickles(spec.clone(), name),
        Unusable::Missing(what) => HubError::Nothing(spec.clone(), what),
    }
}
