//! Everything that can go wrong, each as one line that names the thing and the fix.

use crate::suggest::nearest;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor operation failed.
    #[error("{0}")]
    Candle(#[from] candle_core::Error),
    /// Reading a backbone failed.
    #[error(transparent)]
    Backbone(#[from] crate::backbone::BackboneError),
    /// Reading an image failed.
    #[error(transparent)]
    Image(#[from] crate::image::ImageError),
    /// A tensor is not there.
    #[error("tensor `{name}` is missing{}", near.as_ref().map(|n| format!("; the nearest one is `{n}`")).unwrap_or_default())]
    Missing {
        /// The wanted name.
        name: String,
        /// The most similar name that exists.
        near: Option<String>,
    },
    /// A tensor has the wrong shape.
    #[error("tensor `{name}` has shape {found:?}, expected {wanted:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// What the model needs.
        wanted: Vec<usize>,
        /// What is there.
        found: Vec<usize>,
    },
    /// A tensor is there that the model does not have.
    #[error("tensor `{name}` is not part of this model{}", near.as_ref().map(|n| format!("; the nearest one is `{n}`")).unwrap_or_default())]
    Extra {
        /// The tensor.
        name: String,
        /// The most similar name that the model has.
        near: Option<String>,
    },
    /// A tensor holds a value that is not finite.
    #[error("tensor `{0}` holds a NaN or infinite value; the file is damaged or training diverged")]
    NotFinite(String),
    /// A tensor should train but no layer uses it.
    #[error("tensor `{0}` should train, but no layer uses it")]
    Unused(String),
    /// The method and the backbone do not fit each other.
    #[error("method `{method}`: {reason}")]
    Method {
        /// Name of the method.
        method: String,
        /// What does not fit, and what would.
        reason: String,
    },
    /// There is no such method.
    #[error("there is no method `{name}`{}; `list methods` names them all", near.as_ref().map(|n| format!(", did you mean `{n}`?")).unwrap_or_default())]
    UnknownMethod {
        /// What was asked for.
        name: String,
        /// The most similar name.
        near: Option<String>,
    },
    /// An adapter folder cannot be used.
    #[error("{}: {reason}", path.display())]
    Adapter {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong, and the fix.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a device.
    #[error("`{0}` is not a device; use auto, cpu, cuda, cuda:N or metal")]
    DeviceSpec(String),
    /// The device needs another build.
    #[error(
        "this program was built without `{0}`; rebuild with `--features {0}`, or use `--device cpu`"
    )]
    DeviceFeature(&'static str),
    /// Images of the wrong size.
    #[error(
        "images are {found:?} (channels, height, width): the model takes 3 channels in whole patches of {patch} x {patch}"
    )]
    Input {
        /// Channels, height and width.
        found: (usize, usize, usize),
        /// Side of a patch.
        patch: usize,
    },
    /// The device does not answer.
    #[error("device {name} cannot be used: {reason}; use `--device cpu`")]
    Device {
        /// The device.
        name: String,
        /// Its message.
        reason: String,
    },
}

impl Error {
    /// A missing tensor, with the nearest name among `have`.
    pub fn missing<T>(name: &str, have: &BTreeMap<String, T>) -> Self {
        let near = nearest(name, have.keys()).map(String::from);
        Error::Missing { name: name.into(), near }
    }

    /// An I/O error at a path.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { path, source }
    }

    /// An unusable adapter folder or file.
    pub fn adapter(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Error::Adapter { path: path.into(), reason: reason.into() }
    }

    pub(crate) fn device(name: String, reason: String) -> Self {
        let reason = reason.lines().next().unwrap_or_default().to_string();
        Error::Device { name, reason }
    }
}
