//! What can be wrong with an image file or with a preprocessing setting.

use super::decode::{MAX_PIXELS, MAX_SIDE};

/// Why an image could not be decoded. `name` is the path, or what the caller
/// of [`super::decode_bytes`] called the bytes.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file could not be read at all.
    #[error("{name}: cannot read the file: {source}")]
    Read {
        /// Which image.
        name: String,
        /// The reason given by the operating system.
        source: std::io::Error,
    },
    /// No bytes at all, the usual trace of an interrupted copy.
    #[error("{name}: the file is empty (0 bytes); copy or download it again")]
    Empty {
        /// Which image.
        name: String,
    },
    /// The first bytes are those of no image format known here.
    #[error("{name}: not an image (expected JPEG, PNG, WebP, BMP or GIF)")]
    NotAnImage {
        /// Which image.
        name: String,
    },
    /// A known kind of image that is not decoded here.
    #[error("{name}: {what} is not supported; convert the image to PNG or baseline JPEG")]
    Unsupported {
        /// Which image.
        name: String,
        /// The format or the part of it.
        what: String,
    },
    /// The header announces too many pixels; nothing was allocated for them.
    #[error(
        "{name}: {width} x {height} pixels exceed the limit of {MAX_PIXELS} (and {MAX_SIDE} a side); \
         scale it down"
    )]
    TooLarge {
        /// Which image.
        name: String,
        /// Announced width.
        width: u64,
        /// Announced height.
        height: u64,
    },
    /// The file ends before the image does.
    #[error("{name}: the image is truncated; copy or download it again")]
    Truncated {
        /// Which image.
        name: String,
    },
    /// The contents contradict the format.
    #[error("{name}: the image is damaged: {reason}; copy or download it again")]
    Damaged {
        /// Which image.
        name: String,
        /// What the decoder met.
        reason: String,
    },
}

/// A preprocessing setting that no image can be prepared with.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PreprocessError {
    /// A side of the output, or of the resized image, is 0 or unreasonable.
    #[error("preprocess: {key} is {value}; it must be within 1 to {max}")]
    Size {
        /// The key.
        key: &'static str,
        /// Its value.
        value: u64,
        /// The largest side allowed.
        max: u64,
    },
    /// The crop fraction is out of range.
    #[error("preprocess: resize.crop_pct is {value}; it must be above 0.1 and at most 1")]
    CropPct {
        /// Its value.
        value: f64,
    },
    /// A mean or deviation that cannot be used.
    #[error("preprocess: {key} is {value:?}; use three finite numbers{hint}")]
    Channel {
        /// `mean` or `std`.
        key: &'static str,
        /// Its value.
        value: [f32; 3],
        /// What else is asked of it.
        hint: &'static str,
    },
}
