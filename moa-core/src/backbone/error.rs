//! Why a backbone cannot be used, each as one line that names the thing and the fix.

use std::path::{Path, PathBuf};

use crate::suggest::nearest;

/// An error of reading or writing a backbone. A `path` is a file or folder, or
/// what the caller of [`super::Backbone::from_bytes`] called the bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackboneError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder is none of the six layouts, lacks a file, or says what cannot be used.
    #[error("{}: {reason}", path.display())]
    Unusable {
        /// The folder, or the file in question.
        path: PathBuf,
        /// What is wrong, and the fix.
        reason: String,
    },
    /// Only weights that would need Python's pickle.
    #[error(
        "{}: weights are read from {target}, not from a pickle; convert it once: python -c \
         \"import torch, safetensors.torch as s; s.save_file({{k: v.clone().contiguous() for k, v in \
         torch.load('{pickle}', weights_only=True).items()}}, '{target}', metadata={{'format': 'pt'}})\"",
        path.display()
    )]
    Pickle {
        /// The folder.
        path: PathBuf,
        /// The file that is there.
        pickle: String,
        /// The file that is wanted.
        target: String,
    },
    /// A JSON file cannot be parsed.
    #[error("{}: not valid JSON: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and cause.
        reason: String,
    },
    /// A key of a configuration is missing, malformed, or asks for something that
    /// cannot be computed here.
    #[error("{}: `{key}` {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key with the tables around it, such as `vision_cfg.width`.
        key: String,
        /// What it holds and what would do.
        reason: String,
    },
    /// Configuration and weights tell different things.
    #[error(
        "{}: `{key}` is {value}, but tensor `{tensor}` {found}; config and weights belong to \
         different models",
        path.display()
    )]
    Disagree {
        /// The configuration.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value, or the default where it is absent.
        value: String,
        /// The tensor.
        tensor: String,
        /// What the tensor says.
        found: String,
    },
    /// The weights file contradicts itself.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How, and the fix.
        reason: String,
    },
    /// A tensor is not there.
    #[error("{}: tensor `{name}` is missing{}", path.display(), hint(near))]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// The wanted name.
        name: String,
        /// The most similar name that is there.
        near: Option<String>,
    },
    /// A tensor is there that the architecture does not have.
    #[error(
        "{}: tensor `{name}` is not part of this architecture{}; leaving it out would change the \
         results",
        path.display(),
        hint(near)
    )]
    Extra {
        /// Where it is.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The most similar name that the architecture has.
        near: Option<String>,
    },
    /// A tensor has the wrong shape.
    #[error("{}: tensor `{name}` has shape {found:?}, expected {wanted:?}", path.display())]
    Shape {
        /// Where it is.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// What the configuration asks for.
        wanted: Vec<usize>,
    },
    /// A tensor is not of a floating-point type that is read.
    #[error("{}: tensor `{name}` has type {dtype}; F16, BF16, F32 and F64 are read", path.display())]
    Dtype {
        /// Where it is.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// A tensor holds a NaN or an infinite value.
    #[error(
        "{}: tensor `{name}` holds a NaN or infinite value; the file is damaged, fetch it again",
        path.display()
    )]
    NotFinite {
        /// Where it is.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// No backbone of this name in `models/`.
    #[error("there is no backbone named `{name}`{}", hint(near))]
    UnknownName {
        /// What was asked for.
        name: String,
        /// The most similar name.
        near: Option<String>,
    },
}

/// The result of this module's functions.
pub type Result<T> = std::result::Result<T, BackboneError>;

fn hint(near: &Option<String>) -> String {
    near.as_ref().map(|near| format!("; the nearest name is `{near}`")).unwrap_or_default()
}

impl BackboneError {
    /// An I/O error at a path.
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.into(), source }
    }

    /// A folder or file that cannot be used.
    pub(super) fn unusable(path: PathBuf, reason: impl Into<String>) -> Self {
        Self::Unusable { path, reason: reason.into() }
    }

    /// A weights file that contradicts itself.
    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), reason: reason.into() }
    }

    /// A missing tensor, with the nearest name among `have`.
    pub(super) fn missing<'a>(
        path: &Path,
        name: &str,
        have: impl IntoIterator<Item = &'a String>,
    ) -> Self {
        let near = nearest(name, have).map(String::from);
        Self::Missing { path: path.into(), name: name.into(), near }
    }
}
