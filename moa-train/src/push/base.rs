//! The backbone of an adapter, as others find it.

use anyhow::{Context, Result};
use moa_core::backbone::registry;
use moa_core::model::Card;
use moa_infer::exit::usage;
use moa_infer::hub::{Http, HubSpec, RepoFile, weights_sha256};
use moa_infer::spec::TINY;

/// A backbone on the Hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Its repository and commit.
    pub spec: HubSpec,
    /// Its licence, if it is one of `models/`.
    pub license: Option<String>,
}

impl Base {
    /// What is told, else what the adapter remembers; `None` for the backbone inside the
    /// program. With `http`, its weights must be those of the adapter.
    ///
    /// # Errors
    /// If it is not known, or another one.
    pub fn find(card: &Card, told: Option<HubSpec>, http: Option<&Http>) -> Result<Option<Self>> {
        let remembered = &card.backbone.spec;
        let spec = match told {
            Some(spec) => spec,
            None if remembered == TINY => return Ok(None),
            None => named(remembered).ok_or_else(|| {
                usage(format!("--base-model: say where on the Hub the backbone {remembered} is"))
            })?,
        };
        let license = registry::names()
            .into_iter()
            .filter_map(|name| registry::find(name).ok())
            .find(|known| known.repo == spec.repo.to_string())
            .map(|known| known.licence.to_lowercase());
        let spec = match http {
            Some(http) => checked(http, &spec, &card.backbone.sha256)?,
            None => spec,
        };
        Ok(Some(Self { spec, license }))
    }
}

/// A name of `models/`, or of the Hub. A folder is neither.
fn named(text: &str) -> Option<HubSpec> {
    match registry::find(text) {
        Ok(known) => Some(HubSpec { repo: known.repo.parse().ok()?, revision: known.revision }),
        Err(_) if std::path::Path::new(text).is_absolute() => None,
        Err(_) => text.parse().ok(),
    }
}

/// The commit of `spec`, whose weights have the hash `sha256`.
fn checked(http: &Http, spec: &HubSpec, sha256: &str) -> Result<HubSpec> {
    let about = || format!("the base model {spec}");
    let commit = http.commit_of(spec).with_context(about)?;
    let files: Vec<RepoFile> = http.files_of(&spec.repo, &commit).with_context(about)?;
    let found = weights_sha256(&files);
    anyhow::ensure!(
        found.as_deref().is_none_or(|found| found == sha256),
        "the base model {spec} has other weights than the adapter was trained on; --base-model \
         names the right ones"
    );
    Ok(HubSpec { repo: spec.repo.clone(), revision: Some(commit) })
}
