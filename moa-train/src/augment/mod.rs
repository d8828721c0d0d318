//! The training transform of DomainBed, exact to the bit of Pillow's arithmetic.
//!
//! All chances of an image are drawn first ([`AugmentPlan`]), then carried out,
//! so a plan can be inspected, repeated and tested.

mod colour;
mod crop;
mod pipeline;

pub use colour::{
    ColourOp, adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation, grayscale,
    hsv_to_rgb, rgb_to_hsv,
};
pub use crop::{CropRange, random_resized_crop};
pub use pipeline::{Augment, AugmentPlan, flip_horizontally};
