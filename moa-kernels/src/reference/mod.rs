//! Every operation once more in plain `f64` loops, written for reading, not for
//! speed, and sharing no code with the kernels. Tests compare every back end
//! with these; finite differences of these check the analytic gradients.
//!
//! Matrices are row-major slices; sizes come from the arguments' lengths.

mod dense;
mod gradient;
mod routed;

pub use dense::{
    attention, cross_entropy, gelu, layer_norm, linear, miro, quick_gelu, residual, softmax, swiglu,
};
pub use gradient::{differences, worst};
pub use routed::{Adapter, Layer, Output, Router};
