//! Images: decoding, Pillow-exact resizing and the evaluation transform.
//!
//! Everything is on 8-bit RGB, as in the Python folder loaders: what a backbone
//! saw in training was rounded to 8 bits after every step, and features only
//! agree with published ones if the same rounding happens here.

mod crop;
mod decode;
mod error;
mod gif;
mod jpeg;
mod normalise;
mod preprocess;
mod resize;
mod simd;
mod squeeze;
mod taps;

pub use crop::{Rect, center_crop, center_window, shorter_side};
pub use decode::{MAX_PIXELS, decode_bytes, decode_file};
pub use error::{ImageError, PreprocessError};
pub use normalise::Normalise;
pub use preprocess::{Preprocess, ResizeRule};
pub use resize::{resize, resize_window};
pub use taps::Interpolation;

/// An 8-bit RGB image, `[height, width, 3]` row by row without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels per row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// `height * width * 3` values: red, green, blue of each pixel.
    pub data: Vec<u8>,
}

impl Rgb {
    /// A black image.
    pub fn black(width: usize, height: usize) -> Self {
        Self { width, height, data: vec![0; width * height * 3] }
    }

    /// Wraps pixels; `None` if there are not exactly `height * width * 3` of them.
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Option<Self> {
        let wanted = width.checked_mul(height)?.checked_mul(3)?;
        (data.len() == wanted).then_some(Self { width, height, data })
    }

    /// The rows from top to bottom, `width * 3` values each.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.data.chunks_exact((self.width * 3).max(1))
    }
}
