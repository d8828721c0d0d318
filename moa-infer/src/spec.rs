//! Finding the backbone that a user names.

use crate::exit::usage;
use crate::hub::{Http, HubError, HubSpec, MAIN, Pulled, Settings, pull};
use anyhow::{Context, Result};
use moa_core::backbone::{Backbone, registry};
use moa_core::peft::PEFT_CONFIG_FILE;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The name of the backbone inside the program.
pub const TINY: &str = "tiny";

/// Where a name leads.
enum Place {
    /// The backbone inside the program.
    Tiny,
    /// A folder that is there.
    Folder,
    /// A repository of the Hub.
    Hub(HubSpec),
}

/// Opens a backbone: `tiny`, a folder in one of the supported layouts, a name from `models/`
/// or a repository of the Hub, `owner/name` or `owner/name@revision`; the last two are pulled.
///
/// # Errors
/// If it is not there or cannot be read.
pub fn open_backbone(spec: &str) -> Result<Backbone> {
    match place(spec)? {
        Place::Tiny => tiny(),
        Place::Folder => Ok(Backbone::open(Path::new(spec))?),
        Place::Hub(hub) => Ok(Backbone::open(&pulled(spec, &hub)?.folder)?),
    }
}

fn place(spec: &str) -> Result<Place> {
    let path = Path::new(spec);
    if spec == TINY {
        return Ok(Place::Tiny);
    }
    if path.is_dir() {
        return Ok(Place::Folder);
    }
    if let Ok(known) = registry::find(spec) {
        let repo = known.repo.parse().map_err(anyhow::Error::msg)?;
        return Ok(Place::Hub(HubSpec { repo, revision: known.revision }));
    }
    if path.exists() {
        anyhow::bail!("{spec}: a backbone is a folder, with its config file beside the weights");
    }
    if let Some(hub) = on_hub(path) {
        return Ok(Place::Hub(hub));
    }
    let names = registry::names().into_iter().chain([TINY]);
    let hint = match moa_core::suggest::nearest(spec, names) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => below_a_folder(path)
            .unwrap_or_else(|| "; `moa-train list backbones` names the known ones".into()),
    };
    anyhow::bail!("{spec}: no such backbone folder or name{hint}");
}

/// A path that is not there as a repository. Below a folder that is there it is rather a mistake,
/// unless it has a revision, as no folder does.
fn on_hub(path: &Path) -> Option<HubSpec> {
    let below = path.parent().is_some_and(Path::exists);
    let hub: HubSpec = path.to_str()?.parse().ok()?;
    (hub.revision.is_some() || !below).then_some(hub)
}

/// How to mean the Hub by a path that [`on_hub`] takes for a mistake.
pub(crate) fn below_a_folder(path: &Path) -> Option<String> {
    let hub: HubSpec = path.to_str()?.parse().ok()?;
    Some(format!("; on the Hub it is `{hub}@{MAIN}`")).filter(|_| hub.revision.is_none())
}

/// The folder of an adapter or a backbone: a path that is there, or pulled from the Hub. What
/// is neither stays as it is.
///
/// # Errors
/// If the Hub does not have it.
pub fn local(path: &Path) -> Result<PathBuf> {
    let name = path.to_string_lossy();
    match name != TINY && !path.exists() && (is_known(&name) || on_hub(path).is_some()) {
        true => match place(&name)? {
            Place::Hub(hub) => Ok(pulled(&name, &hub)?.folder),
            Place::Tiny | Place::Folder => Ok(path.into()),
        },
        false => Ok(path.into()),
    }
}

/// Asks the Hub once in the life of the program for the same thing.
fn pulled(name: &str, spec: &HubSpec) -> Result<Pulled> {
    static PULLED: Mutex<BTreeMap<String, Pulled>> = Mutex::new(BTreeMap::new());
    let mut all = PULLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pulled) = all.get(&spec.to_string()) {
        return Ok(pulled.clone());
    }
    let pulled = pull_now(spec).with_context(|| format!("{name}: no such folder here"))?;
    all.insert(spec.to_string(), pulled.clone());
    all.insert(pulled.pinned.to_string(), pulled.clone());
    Ok(pulled)
}

fn pull_now(spec: &HubSpec) -> Result<Pulled> {
    pull(&Http::new(Settings::from_env()?)?, spec).map_err(|error| match &error {
        HubError::NoRepo(repo) => {
            let known = registry::names().into_iter().filter_map(|name| registry::find(name).ok());
            let repos: Vec<String> = known.map(|known| known.repo).collect();
            match moa_core::suggest::nearest(&repo.to_string(), &repos) {
                Some(near) => anyhow::anyhow!("{error}; did you mean `{near}`?"),
                None => error.into(),
            }
        }
        _ => error.into(),
    })
}

/// Pulls what a name of `models/` or `owner/name[@revision]` means.
///
/// # Errors
/// If it is neither, or the Hub does not have it.
pub fn pull_named(spec: &str) -> Result<Pulled> {
    let hub = match registry::find(spec) {
        Ok(_) => place(spec)?,
        Err(_) => Place::Hub(spec.parse().map_err(usage)?),
    };
    match hub {
        Place::Hub(hub) => pull_now(&hub),
        Place::Tiny | Place::Folder => {
            anyhow::bail!("{spec}: a folder here, not a name of the Hub")
        }
    }
}

/// The backbone on the Hub that the adapter in a folder was trained on, if it says so.
pub fn needed_by(folder: &Path) -> Option<String> {
    let spec = if is_peft(folder) {
        moa_core::peft::PeftFolder::read(folder).ok()?.config.base_model?
    } else if is_adapter(folder) {
        moa_core::model::AdapterFolder::read(folder).ok()?.card.backbone.spec
    } else {
        return None;
    };
    let is_here = spec == TINY || Path::new(&spec).exists();
    (!is_here && (is_known(&spec) || spec.parse::<HubSpec>().is_ok())).then_some(spec)
}

/// The backbone inside the program: a small ViT pretrained on drawings; see
/// `models/tiny/README.md`.
///
/// # Errors
/// Only if the program is damaged.
pub fn tiny() -> Result<Backbone> {
    const FILES: &[(&str, &[u8])] = &[
        ("config.json", include_bytes!("../../models/tiny/config.json")),
        ("model.safetensors", include_bytes!("../../models/tiny/model.safetensors")),
    ];
    Ok(Backbone::from_bytes(TINY, FILES)?)
}

/// True if a folder is to be read as an adapter: it is one, or the folder of a run
/// that has one inside (which the error of reading it then says).
pub fn is_adapter(path: &Path) -> bool {
    let holds = |dir: &Path| dir.join(moa_core::model::CONFIG_FILE).is_file();
    holds(path) || holds(&path.join("best"))
}

/// True if a folder is an adapter of Python's PEFT and not one of ours, which may hold the
/// same file.
pub fn is_peft(path: &Path) -> bool {
    path.join(PEFT_CONFIG_FILE).is_file() && !path.join(moa_core::model::CONFIG_FILE).is_file()
}

/// True if `spec` is a name rather than a folder.
pub fn is_known(spec: &str) -> bool {
    spec == TINY || registry::find(spec).is_ok()
}

/// How a spec is recorded: folders with their whole path, so that an adapter finds its
/// backbone from any folder; what is of the Hub with its commit.
///
/// # Errors
/// If the Hub does not have it.
pub fn recorded(spec: &str) -> Result<String> {
    match place(spec) {
        Ok(Place::Tiny) => Ok(spec.into()),
        Ok(Place::Hub(hub)) => Ok(pulled(spec, &hub)?.pinned.to_string()),
        // What is nothing is said when it is opened.
        Ok(Place::Folder) | Err(_) => Ok(whole(spec)),
    }
}

/// What a run has recorded, if `spec` is the same repository and names no other commit: a run
/// goes on with the commit that it began with, wherever the branch is now.
pub fn still_recorded(spec: &str, recorded: &str) -> Option<String> {
    let before: HubSpec = recorded.parse().ok()?;
    match place(spec) {
        Ok(Place::Hub(hub)) if hub.repo == before.repo && !hub.is_pinned() => Some(recorded.into()),
        _ => None,
    }
}

/// The whole path of a folder that is there; else what was given.
pub fn whole(path: &str) -> String {
    let whole = std::fs::canonicalize(path).ok().and_then(|p| p.to_str().map(String::from));
    whole.unwrap_or_else(|| path.into())
}

/// Adds the folder to an error that names only a tensor.
pub(crate) fn located(path: &Path, error: moa_core::Error) -> anyhow::Error {
    let text = error.to_string();
    let shown = path.display().to_string();
    if text.contains(&shown) { error.into() } else { anyhow::anyhow!("{shown}: {text}") }
}
