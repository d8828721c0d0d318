//! Repositories: commits, and the files of each.

use super::Fault;
use moa_infer::hub::{git_blob, sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Files of this size and above are stored by LFS, and all safetensors.
const LFS: usize = 10 << 10;

/// A file of a commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    /// Shared with the commits after it; nothing if they are in xet.
    pub bytes: Arc<Vec<u8>>,
    /// The hash that it goes by.
    pub hash: String,
    pub size: usize,
    pub is_lfs: bool,
    pub is_xet: bool,
}

impl Blob {
    pub fn regular(bytes: Vec<u8>) -> Self {
        let (hash, size) = (git_blob(&bytes), bytes.len());
        Self { bytes: bytes.into(), hash, size, is_lfs: false, is_xet: false }
    }

    pub fn lfs(hash: &str, bytes: Arc<Vec<u8>>) -> Self {
        let (hash, size) = (hash.into(), bytes.len());
        Self { bytes, hash, size, is_lfs: true, is_xet: false }
    }

    pub fn xet(hash: &str, size: usize) -> Self {
        let bytes = Arc::default();
        Self { bytes, hash: hash.into(), size, is_lfs: true, is_xet: true }
    }
}

pub type Files = BTreeMap<String, Blob>;

/// A repository.
#[derive(Clone, Default)]
pub struct Repo {
    /// Commits in their order, by hash.
    pub commits: Vec<(String, Files)>,
    /// Head of every branch, tag and pull request: a place in `commits`.
    pub refs: BTreeMap<String, usize>,
    pub private: bool,
    pub gated: bool,
}

impl Repo {
    /// What a revision is.
    pub fn at(&self, revision: &str) -> Option<&(String, Files)> {
        let named = self.refs.get(revision).and_then(|&at| self.commits.get(at));
        named.or_else(|| self.commits.iter().find(|(hash, _)| hash == revision))
    }

    /// One more commit, the new head of `revision`.
    pub fn commit(&mut self, revision: &str, files: Files) -> String {
        let names: Vec<_> =
            files.iter().map(|(name, blob)| format!("{name} {}", blob.hash)).collect();
        let text = format!("{revision} {} {}", self.commits.len(), names.join(" "));
        let hash = git_blob(text.as_bytes());
        self.refs.insert(revision.into(), self.commits.len());
        self.commits.push((hash.clone(), files));
        hash
    }
}

/// All that the server knows.
pub struct State {
    pub hub: String,
    pub store: String,
    pub repos: BTreeMap<String, Repo>,
    /// LFS objects by hash.
    pub objects: BTreeMap<String, Arc<Vec<u8>>>,
    /// Parts of objects that are being uploaded, by hash and number.
    pub parts: BTreeMap<(String, usize), Vec<u8>>,
    pub faults: Vec<Fault>,
    /// Requests: to the Hub itself, method and path, with a token.
    pub log: Vec<(bool, String, bool)>,
    /// Files of LFS are on the other host.
    pub redirects: bool,
    /// LFS objects above this size go up in parts of it.
    pub part: usize,
    /// Pages of the list of files are this long.
    pub page: usize,
    /// Address of xet's storage: large files go there.
    pub cas: Option<String>,
    /// Names of files in xet, by their sha256.
    pub xet: BTreeMap<String, String>,
}

impl State {
    pub fn new(hub: String, store: String) -> Self {
        Self {
            hub,
            store,
            repos: BTreeMap::new(),
            objects: BTreeMap::new(),
            parts: BTreeMap::new(),
            faults: Vec::new(),
            log: Vec::new(),
            redirects: true,
            part: 1 << 20,
            page: 3,
            cas: None,
            xet: BTreeMap::new(),
        }
    }

    /// How a path is to be uploaded.
    pub fn is_lfs(path: &str, size: usize) -> bool {
        size > 0 && (path.ends_with(".safetensors") || size >= LFS)
    }

    /// Files as a commit of the main branch.
    pub fn publish(&mut self, repo: &str, files: Vec<(String, Vec<u8>)>) -> String {
        let blob = |(name, bytes): (String, Vec<u8>)| {
            let blob = match Self::is_lfs(&name, bytes.len()) {
                true => Blob::lfs(&sha256(&bytes), bytes.into()),
                false => Blob::regular(bytes),
            };
            (name, blob)
        };
        let files = files.into_iter().map(blob).collect();
        self.repos.entry(repo.into()).or_default().commit("main", files)
    }

    /// Times that a request of this begin was made.
    pub fn count(&self, line: &str) -> usize {
        self.log.iter().filter(|(_, l, _)| l.starts_with(line)).count()
    }
}
