//! The training loop.
//!
//! [`Plan`] opens data and backbone and builds the model; a [`Run`] trains it in
//! its folder, a step at a time (`step.rs`), evaluated now and then
//! (`evaluation.rs`), written to `events.jsonl`, `results.jsonl` and
//! [checkpoints](crate::checkpoint).

mod averaging;
mod cache;
mod data;
mod evaluation;
mod events;
mod memory;
mod plan;
mod progress;
mod record;
mod run;
pub mod signals;
mod state;
mod step;
mod waiting;
mod worth;

pub use cache::Kept;
pub use data::{Data, Part, labelled};
pub use memory::estimate;
pub use plan::Plan;
pub use record::{BACKBONE_HASH, hparams, short_hash};
pub use run::{AtWork, DONE_FILE, LOCK_FILE, Outcome, Run};
pub use step::{Learner, Losses, step, step_losses};
pub use waiting::Time;
pub use worth::{EVALUATION_FILE, PartWorth, Worth};
