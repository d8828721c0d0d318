//! What can be wrong with a data set.

use std::io;
use std::path::PathBuf;

/// Errors of [`super::Dataset`]; each names the thing and the way out.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The data folder does not exist.
    #[error("data folder {} does not exist: give the folder that holds the data set", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The data folder is a file.
    #[error("{} is not a folder: give the folder that holds the data set", path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// The data folder holds nothing.
    #[error("data folder {} is empty: expected {layout} in it", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
        /// What belongs there.
        layout: String,
    },
    /// The operating system refused.
    #[error("cannot read {}: {source}; check its name and permissions", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A name that cannot be written into results.
    #[error("the name of {} is not valid UTF-8: rename it", path.display())]
    NotUtf8 {
        /// The file or folder; what cannot be shown is replaced.
        path: PathBuf,
    },
    /// No folder looks like an environment.
    #[error("{} holds no environments: expected {layout}, found {found}", path.display())]
    NoEnvironments {
        /// The folder.
        path: PathBuf,
        /// What belongs there.
        layout: String,
        /// What is there.
        found: String,
    },
    /// A named data set lacks an environment.
    #[error(
        "{dataset} has an environment `{env}`, but {} has no folder of that name (found {found}): \
         complete the copy, or use the data set `folder`", path.display()
    )]
    MissingEnvironment {
        /// DomainBed's name of the data set.
        dataset: &'static str,
        /// The environment.
        env: &'static str,
        /// The folder of the data set.
        path: PathBuf,
        /// Its folders.
        found: String,
    },
    /// Too few environments to leave one out.
    #[error(
        "{} has {found} environment(s) and {needed} are needed: the layout is \
         <environment>/<class>/<image>", path.display()
    )]
    TooFewEnvironments {
        /// The folder of the data set.
        path: PathBuf,
        /// Environments there.
        found: usize,
        /// Environments needed.
        needed: usize,
    },
    /// An environment folder without class folders.
    #[error(
        "environment folder {} has no class folders: the layout is <environment>/<class>/<image>; \
         fill it or take it away", path.display()
    )]
    NoClasses {
        /// The folder.
        path: PathBuf,
    },
    /// Environments differ in their classes.
    #[error(
        "class `{class}` is in environment `{present}` but not in `{absent}`: every environment \
         needs the same class folders; add it to {} or take it away from the others", path.display()
    )]
    MissingClass {
        /// The class.
        class: String,
        /// An environment that has it.
        present: String,
        /// The environment that lacks it.
        absent: String,
        /// The folder of that environment.
        path: PathBuf,
    },
    /// A class folder without images.
    #[error(
        "class folder {} holds no image ({}): fill it, or take the class away from every \
         environment", path.display(), super::scan::EXTENSIONS.join(", ")
    )]
    EmptyClass {
        /// The folder.
        path: PathBuf,
    },
    /// No environment of that name, letter or index.
    #[error("no environment `{name}` in {dataset}: it has {known}{}", did_you_mean(suggestion.as_deref()))]
    UnknownEnvironment {
        /// What was asked for.
        name: String,
        /// The data set.
        dataset: String,
        /// Those that exist.
        known: String,
        /// The nearest of them.
        suggestion: Option<String>,
    },
}

/// `"; did you mean ...?"`, or nothing.
pub(super) fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
