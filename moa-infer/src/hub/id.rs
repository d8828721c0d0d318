//! `owner/name@revision`.

use std::fmt;
use std::str::FromStr;

/// The branch that is meant if none is named.
pub const MAIN: &str = "main";
/// Longest name of an owner and a repository together.
const LONGEST: usize = 96;

/// A repository of models on the Hub.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepoId(String);

/// A repository, and which state of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSpec {
    /// The repository.
    pub repo: RepoId,
    /// A branch, a tag, `refs/pr/N` or a commit.
    pub revision: Option<String>,
}

impl RepoId {
    /// Python's `validate_repo_id`, with an owner.
    fn is_valid(text: &str) -> bool {
        let part = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let ends = |c: char| matches!(c, '-' | '.');
            !part.is_empty()
                && part.chars().all(known)
                && !part.starts_with(ends)
                && !part.ends_with(ends)
        };
        let parts: Vec<_> = text.split('/').collect();
        parts.len() == 2
            && parts.iter().all(|p| part(p))
            && text.len() <= LONGEST
            && !text.contains("--")
            && !text.contains("..")
            && !text.ends_with(".git")
    }

    /// The folder of the repository in the cache.
    pub fn folder(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }

    /// Owner and name.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or(("", &self.0))
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepoId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Self::is_valid(text) {
            true => Ok(Self(text.into())),
            false => Err(format!(
                "`{text}` is no repository of the Hub: owner/name, of letters, digits, `-`, `_` and `.`"
            )),
        }
    }
}

impl HubSpec {
    /// The revision, or the main branch.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }

    /// True if the revision is a commit, which is the same for ever.
    pub fn is_pinned(&self) -> bool {
        self.revision.as_deref().is_some_and(is_commit)
    }
}

impl fmt::Display for HubSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.revision {
            Some(revision) => write!(f, "{}@{revision}", self.repo),
            None => write!(f, "{}", self.repo),
        }
    }
}

impl FromStr for HubSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (repo, revision) = match text.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (text, None),
        };
        if let Some(revision) = revision.filter(|r| !is_revision(r)) {
            return Err(format!("`{revision}` is no revision: a branch, a tag or a commit"));
        }
        Ok(Self { repo: repo.parse()?, revision: revision.map(Into::into) })
    }
}

/// What git takes for a name, less what is no file name: revisions are files of the cache.
fn is_revision(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    text.chars().all(known) && super::names::is_safe(text)
}

/// True for the 40 hexadecimal digits of a commit.
pub fn is_commit(revision: &str) -> bool {
    revision.len() == 40
        && revision.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_and_revisions() {
        let spec: HubSpec = "timm/vit_base.augreg@refs/pr/3".parse().unwrap();
        assert_eq!(spec.repo.parts(), ("timm", "vit_base.augreg"));
        assert_eq!(spec.revision(), "refs/pr/3");
        assert_eq!(spec.repo.folder(), "models--timm--vit_base.augreg");
        assert_eq!(spec.to_string(), "timm/vit_base.augreg@refs/pr/3");
        assert_eq!("a/b".parse::<HubSpec>().unwrap().revision(), MAIN);
        for bad in [
            "a", "a/b/c", "a/", "/b", "a/..", "../b", "a/b--c", "a/-b", "a/b.", "a/b.git", "a/b c",
            "a/b@", "a/b@../x", "a/b@/x", "a/b@x y", "a/b@x//y",
        ] {
            assert!(bad.parse::<HubSpec>().is_err(), "{bad}");
        }
        assert!(format!("a/{}", "b".repeat(95)).parse::<RepoId>().is_err());
        assert!(is_commit(&"0a".repeat(20)) && !is_commit("main") && !is_commit(&"0A".repeat(20)));
    }
}
