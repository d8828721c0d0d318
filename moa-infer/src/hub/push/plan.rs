//! What a commit has to hold.

use super::Work;
use crate::hub::digest::{git_blob, sha256, sha256_of};
use crate::hub::{Digest, HubError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Files of one request.
const FILES: usize = 256;
/// Bytes of a file that the Hub looks at to tell text from data.
const SAMPLE: usize = 512;
/// Largest file that is sent inside a commit.
const INLINE: u64 = 5 << 20;

/// A file to push.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its path in the repository.
    pub path: String,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of this machine.
    File(PathBuf),
}

/// How a file gets into the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// Inside the commit.
    Regular,
    /// By its hash.
    Lfs,
}

/// A file that differs from the repository's.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub path: String,
    pub content: Content,
    pub size: u64,
    pub mode: Mode,
    pub digest: Digest,
}

#[derive(Deserialize)]
struct Answer {
    files: Vec<Answered>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    path: String,
    upload_mode: Mode,
    #[serde(default)]
    should_ignore: bool,
    /// What the repository has under this name.
    oid: Option<String>,
}

impl Content {
    /// In bytes.
    pub(super) fn size(&self) -> Result<u64, HubError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::File(path) => Ok(path.metadata().map_err(HubError::io(path))?.len()),
        }
    }

    /// All of it.
    pub(super) fn read(&self) -> Result<Vec<u8>, HubError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(path) => std::fs::read(path).map_err(HubError::io(path)),
        }
    }

    fn sample(&self) -> Result<Vec<u8>, HubError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes[..bytes.len().min(SAMPLE)].to_vec()),
            Self::File(path) => {
                let mut sample = Vec::new();
                let file = File::open(path).map_err(HubError::io(path))?;
                file.take(SAMPLE as u64).read_to_end(&mut sample).map_err(HubError::io(path))?;
                Ok(sample)
            }
        }
    }

    fn digest(&self, mode: Mode) -> Result<Digest, HubError> {
        Ok(match (mode, self) {
            (Mode::Regular, content) => Digest::Git(git_blob(&content.read()?)),
            (Mode::Lfs, Self::Bytes(bytes)) => Digest::Sha256(sha256(bytes)),
            (Mode::Lfs, Self::File(path)) => Digest::Sha256(sha256_of(path)?),
        })
    }
}

impl Work<'_> {
    /// Asks how each file is to come, and leaves out what the repository has already.
    pub(super) fn plan(&self, uploads: &[Upload]) -> Result<Vec<Planned>, HubError> {
        let mut planned = Vec::new();
        for uploads in uploads.chunks(FILES) {
            let ask = |upload: &Upload| {
                let sample = STANDARD.encode(upload.content.sample()?);
                let size = upload.content.size()?;
                Ok(json!({"path": upload.path, "size": size, "sample": sample}))
            };
            let files: Vec<Value> = uploads.iter().map(ask).collect::<Result<_, HubError>>()?;
            let answer = self.http.post(self.api("preupload"), &json!({"files": files}), true);
            let Answer { files } = answer.map_err(|e| self.error(e))?;
            for upload in uploads {
                let missing = || {
                    let reason = format!("it does not say how {} is to come", upload.path);
                    HubError::Answer(self.spec.to_string(), reason)
                };
                let told = files.iter().find(|f| f.path == upload.path).ok_or_else(missing)?;
                planned.extend(self.file(upload, told)?);
            }
        }
        Ok(planned)
    }

    fn file(&self, upload: &Upload, told: &Answered) -> Result<Option<Planned>, HubError> {
        let Upload { path, content } = upload;
        let size = content.size()?;
        let mode = if size == 0 { Mode::Regular } else { told.upload_mode };
        if mode == Mode::Regular && size > INLINE {
            let reason = format!("{path} is too large for a file that is not in LFS");
            return Err(HubError::Answer(self.spec.to_string(), reason));
        }
        let digest = content.digest(mode)?;
        let same = told.oid.as_deref() == Some(digest.name());
        let (path, content) = (path.clone(), content.clone());
        Ok((!same && !told.should_ignore).then_some(Planned { path, content, size, mode, digest }))
    }
}
