//! The Hugging Face Hub: adapters and backbones pulled into the cache that Python uses, too.
//!
//! Nothing of the network is trusted: names of files are checked, sizes and hashes are
//! compared before a file gets its name in the cache, and the token goes to the Hub alone.
//!
//! Downloads are requests of our own. Those of the `hf-hub` crate (1.0.0) name a file before
//! anything is compared and write an error page as if it were the file; its list of files loses
//! the hashes of large ones and sends the token wherever the next page is said to be; nothing
//! is taken up where it was cut.

mod cache;
mod digest;
mod error;
mod fetch;
mod http;
mod id;
mod names;
mod progress;
mod pull;
mod push;
mod repo;
mod retry;
mod select;
mod settings;

pub use digest::{Digest, git_blob, sha256, sha256_of};
pub use error::HubError;
pub use http::{Ask, Failed, Http, json};
pub use id::{HubSpec, MAIN, RepoId};
pub use pull::{Pulled, pull};
pub use push::{Content, Pushed, Target, Upload, push};
pub use repo::{RepoFile, weights_sha256};
pub use settings::{Settings, Token};
