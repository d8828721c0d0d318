//! Methods: which tensors train, as data.
//!
//! A [`Method`] is read from TOML ([`preset`]), checked against a backbone, and
//! names every trainable tensor with its shape and initial value.

mod config;
mod keys;
mod placement;
mod presets;
mod tensors;

pub use config::{Method, Trains};
pub use keys::flatten;
pub use placement::{Blocks, LinearName};
pub use presets::{names, preset, preset_text};
