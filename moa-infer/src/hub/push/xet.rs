//! Through xet, the Hub's own storage: what `hf-hub` is for here.

use super::plan::{Content, Planned};
use super::{Made, Work};
use crate::hub::HubError;
use hf_hub::HFClient;
use hf_hub::HFError;
use hf_hub::repository::{AddSource, CommitOperation};

/// `HF_HUB_DISABLE_XET`, as in Python.
pub(super) fn is_allowed() -> bool {
    let value = std::env::var("HF_HUB_DISABLE_XET").unwrap_or_default().to_uppercase();
    !matches!(value.as_str(), "1" | "ON" | "YES" | "TRUE")
}

impl Work<'_> {
    /// Files and commit at once. Asked for when the server has chosen xet: otherwise `hf-hub`
    /// would send large files inside the commit.
    pub(super) fn through_xet(&self, files: &[Planned]) -> Result<Made, HubError> {
        let settings = &self.http.settings;
        let mut client = HFClient::builder()
            .endpoint(settings.endpoint.as_str())
            .cache_dir(settings.cache.clone());
        if let Some(token) = &settings.token {
            client = client.token(token.secret());
        }
        let failed = |e: HFError| HubError::Xet(self.target.repo.clone(), one_line(&e));
        let client = client.build_sync().map_err(failed)?;
        let (owner, name) = self.target.repo.parts();
        let operation = |file: &Planned| CommitOperation::Add {
            path_in_repo: file.path.clone(),
            source: match &file.content {
                Content::Bytes(bytes) => AddSource::Bytes(bytes.clone().into()),
                Content::File(path) => AddSource::File(path.clone()),
            },
        };
        let made = client
            .model(owner, name)
            .create_commit()
            .operations(files.iter().map(operation).collect())
            .commit_message(self.target.message.clone())
            .revision(self.revision())
            .parent_commit(self.head.clone())
            .create_pr(self.target.pull_request)
            .send();
        match made {
            Ok(info) => {
                let commit = info.commit_oid.unwrap_or_default();
                let url = info.pr_url.or(info.commit_url).unwrap_or_default();
                Ok(Made { commit, url })
            }
            // It repeats requests itself: only the head tells what became of the first.
            Err(error) if self.target.pull_request => Err(failed(error)),
            Err(error) => self.made(files)?.ok_or_else(|| failed(error)),
        }
    }
}

fn one_line(error: &HFError) -> String {
    error.to_string().lines().next().unwrap_or_default().into()
}
