//! How the loss changes around what was trained: along two directions, and by the eigenvalues of
//! its second derivatives.
//!
//! | module | what |
//! |---|---|
//! | [`objective`] | loss and gradient at any values of what trains |
//! | [`of_run`] | the same of a run's adapter |
//! | [`mod@surface`] | the loss on a square of two directions |
//! | [`lanczos`] | a few eigenvalues of a matrix that is only multiplied with |
//! | [`mod@spectrum`] | the density of all eigenvalues of the Hessian |

pub mod lanczos;
pub mod objective;
pub mod of_run;
pub mod spectrum;
pub mod surface;

pub use objective::Objective;
pub use spectrum::{Spectrum, spectrum};
pub use surface::{Surface, surface};
