//! Data sets as folders: `<environment>/<class>/<image>`.
//!
//! Environments, classes and samples are in the order that DomainBed gives
//! them, because splits and results are told by index.
//!
//! | module | what |
//! |---|---|
//! | [`registry`] | the data sets known by name |
//! | [`kind`] | what a data set is opened as |
//! | [`scan`] | listing folders |
//! | [`error`] | what can be wrong |

mod classes;
mod environments;
pub mod error;
pub mod kind;
mod open;
pub mod registry;
pub mod scan;

use sha2::{Digest, Sha256};
use std::path::PathBuf;

pub use error::DatasetError;
pub use kind::DatasetKind;

/// The images of a data set, listed and not read.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What it was opened as.
    pub kind: DatasetKind,
    /// DomainBed's name (`"PACS"`), or that of the folder.
    pub name: String,
    /// The folder that holds the environments.
    pub root: PathBuf,
    /// In index order.
    pub envs: Vec<Env>,
    /// Class names; a label is a place in this list.
    pub classes: Vec<String>,
    /// What was passed over and what differs from the published copy, a line
    /// each.
    pub warnings: Vec<String>,
}

/// One environment ("domain").
#[derive(Clone, Debug)]
pub struct Env {
    /// DomainBed's folder name, or the name of the folder.
    pub name: String,
    /// Column of the tables: a letter or short name, else the name.
    pub display: String,
    /// By class, then by path as torchvision sorts them.
    pub samples: Vec<Sample>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// Its label.
    pub class: usize,
}

impl Dataset {
    /// The index of the environment that a user calls `name`: its name (in any
    /// spelling of [`registry::same_name`]), its letter in the tables, or its
    /// index.
    ///
    /// # Errors
    /// [`DatasetError::UnknownEnvironment`], which lists those that exist.
    pub fn env_index(&self, name: &str) -> Result<usize, DatasetError> {
        let named = |called: &dyn Fn(usize, &Env) -> bool| {
            self.envs.iter().enumerate().find(|(i, env)| called(*i, env)).map(|(i, _)| i)
        };
        let info = self.kind.info();
        let known = info.map_or(&[][..], |info| info.environments);
        named(&|_, env| env.name == name)
            .or_else(|| named(&|i, _| known.get(i).is_some_and(|e| e.is_called(name))))
            .or_else(|| named(&|_, env| registry::same_name(&env.name, name)))
            .or_else(|| name.parse().ok().filter(|&i| i < self.envs.len()))
            .ok_or_else(|| self.unknown_environment(name))
    }

    /// The environment that a user calls `name`.
    ///
    /// # Errors
    /// As [`Dataset::env_index`].
    pub fn env(&self, name: &str) -> Result<&Env, DatasetError> {
        let found = self.envs.get(self.env_index(name)?);
        found.ok_or_else(|| self.unknown_environment(name))
    }

    /// Hash of the names of all images in order: the same files in the same places
    /// have the same splits.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for env in &self.envs {
            hasher.update(format!("{}\n", env.name));
            for sample in &env.samples {
                let path = sample.path.strip_prefix(&self.root).unwrap_or(&sample.path);
                hasher.update(path.to_string_lossy().as_bytes());
                hasher.update(b"\n");
            }
        }
        moa_core::hash::hex(hasher.finalize())
    }

    /// Number of images in all environments.
    pub fn len(&self) -> usize {
        self.envs.iter().map(|env| env.samples.len()).sum()
    }

    /// Whether there are no images; never so of a data set that was opened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks that leaving environments out leaves something to train on.
    ///
    /// # Errors
    /// [`DatasetError::TooFewEnvironments`] with fewer than `needed`.
    pub fn require_environments(&self, needed: usize) -> Result<(), DatasetError> {
        if self.envs.len() >= needed {
            return Ok(());
        }
        let (path, found) = (self.root.clone(), self.envs.len());
        Err(DatasetError::TooFewEnvironments { path, found, needed })
    }

    fn unknown_environment(&self, name: &str) -> DatasetError {
        let shown = self.envs.iter().map(|env| match env.display == env.name {
            true => env.name.clone(),
            false => format!("{} ({})", env.name, env.display),
        });
        let names = self.envs.iter().map(|env| &env.name);
        DatasetError::UnknownEnvironment {
            name: name.to_owned(),
            dataset: self.name.clone(),
            known: shown.collect::<Vec<_>>().join(", "),
            suggestion: moa_core::suggest::nearest(name, names).map(str::to_owned),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn dataset(kind: DatasetKind, names: &[&str]) -> Dataset {
        let known = kind.info().map_or(&[][..], |info| info.environments);
        let env = |(i, name): (usize, &&str)| Env {
            name: (*name).to_owned(),
            display: known.get(i).map_or(*name, |e| e.display).to_owned(),
            samples: vec![],
        };
        let envs = names.iter().enumerate().map(env).collect();
        let (name, root) = ("Set".to_owned(), PathBuf::from("set"));
        Dataset { kind, name, root, envs, classes: vec![], warnings: vec![] }
    }

    fn index(of: &Dataset, name: &str) -> usize {
        of.env_index(name).unwrap()
    }

    #[test]
    fn names_letters_and_indices() {
        let names = ["art_painting", "cartoon", "photo", "sketch"];
        let pacs = dataset(DatasetKind::Pacs, &names);
        for name in ["photo", "Photo", "P", "p", "2"] {
            assert_eq!(index(&pacs, name), 2, "{name}");
        }
        assert_eq!(index(&pacs, "Art Painting"), 0);
        assert_eq!(pacs.env("S").unwrap().name, "sketch");
        let error = pacs.env_index("cartoons").unwrap_err().to_string();
        let wanted = "no environment `cartoons` in Set: it has art_painting (A), cartoon (C), \
            photo (P), sketch (S); did you mean `cartoon`?";
        assert_eq!(error, wanted);
    }

    /// A name goes before an index.
    #[test]
    fn folders_called_by_numbers() {
        let folder = dataset(DatasetKind::Folder, &["1", "0", "day"]);
        assert_eq!(["0", "1", "2", "DAY"].map(|name| index(&folder, name)), [1, 0, 2, 2]);
        let error = folder.env("3").unwrap_err().to_string();
        assert_eq!(error, "no environment `3` in Set: it has 1, 0, day");
    }

    #[test]
    fn enough_environments() {
        let folder = dataset(DatasetKind::Folder, &["day"]);
        assert!(folder.require_environments(1).is_ok());
        let error = folder.require_environments(2).unwrap_err().to_string();
        assert_eq!(
            error,
            "set has 1 environment(s) and 2 are needed: the layout is <environment>/<class>/<image>"
        );
        assert!(folder.is_empty());
    }
}
