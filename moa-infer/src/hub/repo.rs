//! What a repository holds.

use super::http::{Ask, Failed, Http, json};
use super::id::is_commit;
use super::names::{is_inside, is_safe};
use super::{Digest, HubError, HubSpec, RepoId};
use reqwest::header::{HeaderMap, LINK};
use serde::Deserialize;
use url::Url;

/// Most pages of a list: 100,000 files.
const PAGES: usize = 100;

/// A file of a repository, at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoFile {
    /// Its path in the repository, checked to stay inside a folder.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Its hash.
    pub digest: Digest,
}

#[derive(Deserialize)]
struct Info {
    sha: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    oid: String,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl Http {
    /// The commit that a revision is now.
    ///
    /// # Errors
    /// If there is no such repository or revision, or it may not be seen.
    pub fn commit_of(&self, spec: &HubSpec) -> Result<String, HubError> {
        let (owner, name) = spec.repo.parts();
        let url = self.url(&["api", "models", owner, name, "revision", spec.revision()]);
        let info: Info = self.send(&Ask::get(url), json).map_err(|e| self.about(spec, e))?;
        let commit = info.sha.filter(|sha| is_commit(sha));
        commit.ok_or_else(|| HubError::Answer(spec.to_string(), "it names no commit".into()))
    }

    /// All files of a commit.
    ///
    /// # Errors
    /// As [`Http::commit_of`]; a file name that could leave its folder, too.
    pub fn files_of(&self, repo: &RepoId, commit: &str) -> Result<Vec<RepoFile>, HubError> {
        let spec = HubSpec { repo: repo.clone(), revision: Some(commit.into()) };
        let (owner, name) = repo.parts();
        let mut url = self.url(&["api", "models", owner, name, "tree", commit]);
        url.set_query(Some("recursive=true"));
        let mut files = Vec::new();
        for _ in 0..PAGES {
            let read = |response: reqwest::blocking::Response| {
                let next = next_page(response.headers(), response.url());
                Ok::<_, Failed>((json::<Vec<Entry>>(response)?, next))
            };
            let (entries, next) =
                self.send(&Ask::get(url), read).map_err(|e| self.about(&spec, e))?;
            for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
                files.extend(entry.checked(&spec)?);
            }
            match next {
                Some(next) => url = next,
                None => return Ok(files),
            }
        }
        Err(HubError::Answer(spec.to_string(), "its list of files has no end".into()))
    }

    /// A failure, in terms of the repository that was asked about.
    pub fn about(&self, spec: &HubSpec, failed: Failed) -> HubError {
        let repo = || spec.repo.clone();
        let endpoint = || self.settings.endpoint.to_string();
        match failed {
            Failed::Connect(reason) | Failed::Transport(reason) => {
                HubError::Unreachable(endpoint(), reason)
            }
            Failed::Answer(reason) => HubError::Answer(spec.to_string(), reason),
            Failed::Redirect(reason) => HubError::Redirect(spec.to_string(), reason),
            Failed::Body(error) => HubError::Answer(spec.to_string(), error.to_string()),
            Failed::Status(status, code, message, _) => match (status.as_u16(), code.as_deref()) {
                (_, Some("GatedRepo")) => HubError::Gated(repo()),
                (_, Some("RevisionNotFound")) => {
                    HubError::NoRevision(repo(), spec.revision().into())
                }
                (_, Some("RepoNotFound")) | (404, None) => HubError::NoRepo(repo()),
                // The Hub does not tell whether a private repository exists.
                (401, _) if self.settings.token.is_none() => HubError::NoRepo(repo()),
                (401, _) => HubError::Token,
                (403, _) => HubError::Forbidden(spec.to_string(), message),
                (status, _) => HubError::Status { what: spec.to_string(), status, message },
            },
        }
    }
}

/// The hash of a backbone's weights as an adapter remembers it
/// ([`moa_core::backbone::Backbone::sha256`]), from the list of a repository's files. `None` if
/// they are not in LFS, or several files that only an index tells apart.
pub fn weights_sha256(files: &[RepoFile]) -> Option<String> {
    let selection = super::select::select(files.iter().map(|file| file.path.as_str())).ok()?;
    let weights = selection.files.iter().find(|name| name.ends_with(".safetensors"))?;
    match &files.iter().find(|file| file.path == *weights)?.digest {
        Digest::Sha256(hash) => Some(hash.clone()),
        Digest::Git(_) => None,
    }
}

impl Entry {
    /// Nothing for a name that only some systems have: nothing of ours is called like that.
    fn checked(self, spec: &HubSpec) -> Result<Option<RepoFile>, HubError> {
        if !is_inside(&self.path) {
            return Err(HubError::Name(spec.repo.clone(), self.path));
        }
        if !is_safe(&self.path) {
            return Ok(None);
        }
        let (size, oid, len) = match self.lfs {
            Some(lfs) => (lfs.size, lfs.oid, 64),
            None => (self.size, self.oid, 40),
        };
        let digest = Digest::of_name(&oid).filter(|_| oid.len() == len);
        let bad = || HubError::Answer(spec.to_string(), format!("{} has no hash", self.path));
        Ok(Some(RepoFile { digest: digest.ok_or_else(bad)?, path: self.path, size }))
    }
}

/// The `next` of a `Link` header, if it stays with the same host.
fn next_page(headers: &HeaderMap, url: &Url) -> Option<Url> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let (from, to) = (next.find('<')? + 1, next.find('>')?);
    let next = url.join(next.get(from..to)?).ok()?;
    (next.origin() == url.origin()).then_some(next)
}
