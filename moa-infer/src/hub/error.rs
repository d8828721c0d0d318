//! What can go wrong with the Hub, in one line each.

use super::{HubSpec, RepoId};
use reqwest::StatusCode;
use std::path::PathBuf;

/// An error of the Hub, or on the way to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The endpoint is no address.
    #[error("HF_ENDPOINT={0}: not an address such as https://huggingface.co")]
    Endpoint(String),
    /// There is no folder for the cache.
    #[error("no home folder for the cache of the Hub: set HF_HOME")]
    NoHome,
    /// No answer.
    #[error(
        "{0} cannot be reached, or gives no whole answer ({1}); check the network and HTTPS_PROXY, or use what is cached with \
         HF_HUB_OFFLINE=1"
    )]
    Unreachable(String, String),
    /// Nothing may be asked, and the cache does not have it.
    #[error(
        "{0}: not whole in the cache, and HF_HUB_OFFLINE is set; `moa-infer pull {0}` while online"
    )]
    NotCached(HubSpec),
    /// An answer that sends in circles, or somewhere unsafe.
    #[error("{0}: answered with a redirection that is not followed ({1})")]
    Redirect(String, String),
    /// 401.
    #[error(
        "the Hub refuses the token; make a new one in its settings and set HF_TOKEN, or run `hf auth login`"
    )]
    Token,
    /// Not even something that can be sent.
    #[error(
        "HF_TOKEN, or the file of `hf auth login`, holds what no token has: spaces, lines or accents"
    )]
    NotAToken,
    /// There is no token, and one is needed.
    #[error("{0} needs a token of the Hub: set HF_TOKEN, or run `hf auth login`")]
    NoToken(String),
    /// 404 of a repository; a private one looks the same without its owner's token.
    #[error("{0}: no such repository of models, or a private one (set HF_TOKEN to see those)")]
    NoRepo(RepoId),
    /// 404 of a revision.
    #[error("{0} has no revision `{1}`")]
    NoRevision(RepoId, String),
    /// 403 of a gated repository.
    #[error("{0} is gated: ask for access on its page, then set HF_TOKEN")]
    Gated(RepoId),
    /// 403 otherwise.
    #[error("{0}: the token does not allow it ({1})")]
    Forbidden(String, String),
    /// Another status.
    #[error("{what}: the Hub answered {status}{}", after(.message))]
    Status {
        /// What was asked.
        what: String,
        /// Of HTTP.
        status: u16,
        /// Its own words, one line.
        message: String,
    },
    /// An answer that does not keep to the protocol.
    #[error("{0}: the Hub's answer cannot be used ({1})")]
    Answer(String, String),
    /// A file name that could leave its folder.
    #[error("{0} holds a file named {1:?}, which is not safe to write; nothing was taken")]
    Name(RepoId, String),
    /// Weights that only Python's pickle can read.
    #[error(
        "{0} has only pickled weights ({1}), which are never read; take a revision with safetensors \
         (often `{0}@refs/pr/N`), or in Python: model.save_pretrained(folder)"
    )]
    Pickles(HubSpec, String),
    /// No adapter and no backbone.
    #[error("{0}: neither an adapter nor a backbone ({1})")]
    Nothing(HubSpec, String),
    /// What arrived is something else.
    #[error("{0}: {1} arrived damaged twice ({2}); nothing of it was kept")]
    Damaged(RepoId, String, String),
    /// A file in the cache is something else than its name says.
    #[error("{0}: {1} in the cache is damaged; `moa-infer pull {0}` while online mends it")]
    CacheDamaged(HubSpec, String),
    /// A push to a repository that is not there.
    #[error("{0}: no such repository of models; --create makes it")]
    NotMade(RepoId),
    /// 412: the head is not the one that a commit was planned on.
    #[error("{0} got another commit meanwhile; nothing was pushed: look at it, then push again")]
    Moved(RepoId),
    /// A pull request of which nobody knows whether it is there.
    #[error("{0}: the answer was lost; look among its pull requests before you push again")]
    Lost(RepoId),
    /// Of the storage.
    #[error("{0}: upload through xet: {1} (HF_HUB_DISABLE_XET=1 does without)")]
    Xet(RepoId, String),
    /// A file or folder on this machine.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The program cannot make requests at all.
    #[error("no connection can be made: {0}")]
    Client(String),
}

fn after(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl HubError {
    /// True if it may be gone later, and is not about what was asked for.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(..) => true,
            Self::Status { status, .. } => {
                StatusCode::from_u16(*status).is_ok_and(super::retry::is_passing)
            }
            _ => false,
        }
    }

    /// For `map_err` of what is done with a file.
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
