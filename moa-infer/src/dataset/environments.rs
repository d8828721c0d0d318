//! Which folders are environments.

use std::path::{Path, PathBuf};

use super::error::DatasetError;
use super::kind::DatasetKind;
use super::registry::{DatasetInfo, EnvironmentInfo, same_name};
use super::scan::{self, Folder};

/// An environment before its images are listed.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) display: String,
    pub(super) folder: Folder,
    pub(super) classes: Vec<Folder>,
}

/// What belongs into the data folder.
pub(super) fn layout(kind: DatasetKind) -> String {
    let Some(info) = kind.info() else {
        return "<environment>/<class>/<image>".to_owned();
    };
    let names: Vec<&str> = info.environments.iter().map(|env| env.name).collect();
    format!("the folders {}", names.join(", "))
}

/// Every folder is an environment.
pub(super) fn any(root: &Path) -> Result<Vec<Found>, DatasetError> {
    let folders = scan::folders(root)?;
    if folders.is_empty() {
        return Err(no_environments(DatasetKind::Folder, root, &folders));
    }
    let env = |folder: Folder| found(&folder.name.clone(), &folder.name.clone(), folder);
    folders.into_iter().map(env).collect()
}

/// The environments of a named data set, in `root` or in its folder there.
pub(super) fn named(
    info: &DatasetInfo,
    root: &Path,
    warnings: &mut Vec<String>,
) -> Result<(PathBuf, Vec<Found>), DatasetError> {
    let mut root = root.to_owned();
    let mut folders = scan::folders(&root)?;
    let present = |folders: &[Folder]| {
        info.environments.iter().filter(|env| place(env, folders).is_some()).count()
    };
    if present(&folders) < info.environments.len() {
        let is_ours = |f: &&Folder| info.folders.iter().any(|known| same_name(known, &f.name));
        for folder in folders.clone().iter().filter(is_ours) {
            let inner = scan::folders(&folder.path)?;
            if present(&inner) > present(&folders) {
                (root, folders) = (folder.path.clone(), inner);
            }
        }
    }
    if present(&folders) == 0 {
        return Err(no_environments(info.kind, &root, &folders));
    }
    let all = names(&folders);
    let mut envs = Vec::new();
    for env in info.environments {
        let Some(place) = place(env, &folders) else {
            return Err(DatasetError::MissingEnvironment {
                dataset: info.class_name,
                env: env.name,
                found: all,
                path: root,
            });
        };
        envs.push(found(env.name, env.display, folders.remove(place))?);
    }
    if !folders.is_empty() {
        let (dataset, folders) = (info.class_name, names(&folders));
        warnings.push(format!("not environments of {dataset}, passed over: {folders}"));
    }
    Ok((root, envs))
}

/// Which of `folders` is `env`: the one of its own name, else the first that is
/// called so.
fn place(env: &EnvironmentInfo, folders: &[Folder]) -> Option<usize> {
    let exact = folders.iter().position(|folder| folder.name == env.name);
    exact.or_else(|| folders.iter().position(|folder| env.is_called(&folder.name)))
}

fn found(name: &str, display: &str, folder: Folder) -> Result<Found, DatasetError> {
    let classes = scan::folders(&folder.path)?;
    if classes.is_empty() {
        return Err(DatasetError::NoClasses { path: folder.path });
    }
    Ok(Found { name: name.to_owned(), display: display.to_owned(), folder, classes })
}

fn no_environments(kind: DatasetKind, root: &Path, folders: &[Folder]) -> DatasetError {
    DatasetError::NoEnvironments {
        path: root.to_owned(),
        layout: layout(kind),
        found: names(folders),
    }
}

/// Names for a message: ten at most.
pub(super) fn names(folders: &[Folder]) -> String {
    const SHOWN: usize = 10;
    let names: Vec<&str> = folders.iter().take(SHOWN).map(|folder| folder.name.as_str()).collect();
    match folders.len().checked_sub(SHOWN) {
        _ if folders.is_empty() => "no folders".to_owned(),
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names.join(", ")),
    }
}
