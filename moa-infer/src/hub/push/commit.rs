//! The commit itself.

use super::plan::{Mode, Planned};
use super::{Made, Work};
use crate::hub::http::{Ask, Failed, json};
use crate::hub::{HubError, RepoFile};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::blocking::Body;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::json as object;

/// Times that a commit is sent, if it is known not to have been made.
const ATTEMPTS: usize = 4;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    commit_oid: String,
    commit_url: String,
    pull_request_url: Option<String>,
}

impl Work<'_> {
    /// Makes it on the head that it was planned on. If the answer is lost, the head tells
    /// whether it was made; it is never sent blindly a second time.
    pub(super) fn commit(&self, files: &[Planned]) -> Result<Made, HubError> {
        let body = self.body(files)?;
        for attempt in 1.. {
            let failed = match self.send(&body) {
                Ok(made) => return Ok(made),
                Err(failed) => failed,
            };
            let lost = match &failed {
                Failed::Connect(_) | Failed::Transport(_) | Failed::Answer(_) => true,
                Failed::Status(status, ..) => status.is_server_error() || *status == 429,
                _ => false,
            };
            if !lost {
                return Err(self.refused(failed));
            }
            if self.target.pull_request {
                return Err(HubError::Lost(self.target.repo.clone()));
            }
            if let Some(made) = self.made(files)? {
                return Ok(made);
            }
            if attempt == ATTEMPTS || !self.http.wait(&failed, attempt as u32) {
                return Err(self.error(failed));
            }
        }
        unreachable!("the loop returns")
    }

    fn body(&self, files: &[Planned]) -> Result<String, HubError> {
        let header = object!({"key": "header", "value": {
            "summary": self.target.message, "description": "", "parentCommit": self.head
        }});
        let mut lines = vec![header.to_string()];
        for file in files {
            let line = match file.mode {
                Mode::Regular => object!({"key": "file", "value": {
                    "content": STANDARD.encode(file.content.read()?),
                    "path": file.path, "encoding": "base64"
                }}),
                Mode::Lfs => object!({"key": "lfsFile", "value": {
                    "path": file.path, "algo": "sha256", "oid": file.digest.name(), "size": file.size
                }}),
            };
            lines.push(line.to_string());
        }
        Ok(lines.join("\n") + "\n")
    }

    fn send(&self, body: &str) -> Result<Made, Failed> {
        let make = || Ok(Body::from(body.to_owned()));
        let mut ask = Ask::send(Method::POST, self.api("commit"), &make);
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        (ask.again, ask.bytes) = (false, body.len() as u64);
        let answer: Answer = self.http.send(&ask, json)?;
        let url = answer.pull_request_url.unwrap_or(answer.commit_url);
        Ok(Made { commit: answer.commit_oid, url })
    }

    /// The head, if it is new and holds all of `files`.
    ///
    /// # Errors
    /// If it is somebody else's.
    pub(super) fn made(&self, files: &[Planned]) -> Result<Option<Made>, HubError> {
        let head = self.http.commit_of(&self.spec)?;
        if head == self.head {
            return Ok(None);
        }
        let there = self.http.files_of(&self.target.repo, &head)?;
        let holds = |file: &Planned| {
            there
                .iter()
                .any(|RepoFile { path, digest, .. }| (path, digest) == (&file.path, &file.digest))
        };
        if !files.iter().all(holds) {
            return Err(HubError::Moved(self.target.repo.clone()));
        }
        let (owner, name) = self.target.repo.parts();
        let url = self.http.url(&[owner, name, "commit", &head]).to_string();
        Ok(Some(Made { commit: head, url }))
    }

    fn refused(&self, failed: Failed) -> HubError {
        match failed {
            Failed::Status(status, ..) if status == 412 || status == 409 => {
                HubError::Moved(self.target.repo.clone())
            }
            failed => self.error(failed),
        }
    }
}
