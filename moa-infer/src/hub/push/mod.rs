//! Files as one commit of a repository.
//!
//! Large files go to LFS first, at once or in parts, or through xet where the server wants
//! that; then one commit names them all. It holds the head that it was planned on: if somebody
//! else was faster, nothing is overwritten.

mod commit;
mod lfs;
mod plan;
mod xet;

use super::{HubError, HubSpec, MAIN, RepoId};
use crate::hub::http::{Ask, Failed, Http, json};
pub use plan::{Content, Upload};
use plan::{Mode, Planned};
use reqwest::Method;
use reqwest::blocking::Body;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json as object};
use url::Url;

/// Where files go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The repository.
    pub repo: RepoId,
    /// The branch that is changed, or that a pull request is for.
    pub revision: Option<String>,
    /// Makes the repository if there is none.
    pub create: bool,
    /// For its owner's eyes only, if it is made.
    pub private: bool,
    /// Proposes the commit instead of making it.
    pub pull_request: bool,
    /// What the commit is about, one line.
    pub message: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The commit.
    pub commit: String,
    /// The page of the commit or of the pull request.
    pub url: String,
    /// Files that it changes; none, and no commit was made.
    pub changed: Vec<String>,
}

/// Makes one commit of the files that differ from the repository's.
///
/// # Errors
/// If something is refused or lost; then there is no commit, or the error says that it
/// may be there.
pub fn push(http: &Http, target: &Target, uploads: &[Upload]) -> Result<Pushed, HubError> {
    let spec = HubSpec { repo: target.repo.clone(), revision: target.revision.clone() };
    if http.settings.token.is_none() {
        return Err(HubError::NoToken(spec.to_string()));
    }
    let user = http.user()?;
    let head = match http.commit_of(&spec) {
        Err(HubError::NoRepo(repo)) => {
            if !target.create {
                return Err(HubError::NotMade(repo));
            }
            http.create(target, &user)?;
            http.commit_of(&spec)?
        }
        head => head?,
    };
    let work = Work { http, target, spec, head };
    let planned = work.plan(uploads)?;
    let changed: Vec<String> = planned.iter().map(|file| file.path.clone()).collect();
    if changed.is_empty() {
        let url = http.url(&[target.repo.parts().0, target.repo.parts().1]);
        return Ok(Pushed { commit: work.head, url: url.into(), changed });
    }
    let large: Vec<&Planned> = planned.iter().filter(|file| file.mode == Mode::Lfs).collect();
    let made = match large.is_empty() || work.store(&large)? {
        true => work.commit(&planned)?,
        false => work.through_xet(&planned)?,
    };
    Ok(Pushed { commit: made.commit, url: made.url, changed })
}

/// A push under way.
struct Work<'a> {
    http: &'a Http,
    target: &'a Target,
    spec: HubSpec,
    /// What the branch was when this was planned.
    head: String,
}

/// The commit that was made.
struct Made {
    commit: String,
    url: String,
}

impl Work<'_> {
    fn revision(&self) -> &str {
        self.target.revision.as_deref().unwrap_or(MAIN)
    }

    /// An address of the repository's API, with the revision at its end.
    fn api(&self, what: &str) -> Url {
        let (owner, name) = self.target.repo.parts();
        let mut url = self.http.url(&["api", "models", owner, name, what, self.revision()]);
        if self.target.pull_request {
            url.set_query(Some("create_pr=1"));
        }
        url
    }

    fn error(&self, failed: Failed) -> HubError {
        self.http.about(&self.spec, failed)
    }
}

impl Http {
    /// Who the token belongs to.
    fn user(&self) -> Result<String, HubError> {
        #[derive(Deserialize)]
        struct User {
            name: String,
        }
        let mut ask = Ask::get(self.url(&["api", "whoami-v2"]));
        ask.token = true;
        let user: User = self.send(&ask, json).map_err(|failed| match failed {
            Failed::Status(status, ..) if status == 401 => HubError::Token,
            Failed::Connect(reason) | Failed::Transport(reason) => {
                HubError::Unreachable(self.settings.endpoint.to_string(), reason)
            }
            other => HubError::Answer("whoami".into(), format!("{other:?}")),
        })?;
        Ok(user.name)
    }

    fn create(&self, target: &Target, user: &str) -> Result<(), HubError> {
        let (owner, name) = target.repo.parts();
        let mut body = object!({"name": name, "type": "model"});
        if owner != user {
            body["organization"] = owner.into();
        }
        if target.private {
            // Else as the owner has it by default.
            body["visibility"] = "private".into();
            body["private"] = true.into();
        }
        let made: Result<Value, Failed> =
            self.post(self.url(&["api", "repos", "create"]), &body, true);
        match made {
            Ok(_) => Ok(()),
            // Somebody was faster, or an answer was lost.
            Err(Failed::Status(status, ..)) if status == 409 => Ok(()),
            Err(failed) => {
                Err(self.about(&HubSpec { repo: target.repo.clone(), revision: None }, failed))
            }
        }
    }

    /// Posts JSON; `again` if it may be sent twice.
    fn post<T: DeserializeOwned>(&self, url: Url, body: &Value, again: bool) -> Result<T, Failed> {
        let text = body.to_string();
        let make = || Ok(Body::from(text.clone()));
        let mut ask = Ask::send(Method::POST, url, &make);
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        ask.again = again;
        self.send(&ask, json)
    }
}
