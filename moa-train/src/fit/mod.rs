//! The training loop.
//!
//! [`Run::prepare`] opens data and backbone and builds the model, [`Run::fit`]
//! trains it: a step at a time ([`step`]), evaluated now and then
//! ([`evaluation`]), written to the run folder ([`events`], [`crate::checkpoint`]).

mod data;
mod evaluation;
mod events;
mod memory;
mod progress;
mod run;
pub mod signals;
mod step;

pub use data::{Data, Part, labelled};
pub use memory::estimate;
pub use run::{Outcome, Plan, Run};
pub use step::{Losses, step_losses};
