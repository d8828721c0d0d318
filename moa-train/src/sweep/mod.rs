//! Studies: many runs, left to any number of workers on one shared folder.
//!
//! | module | what |
//! |---|---|
//! | [`mod@file`] | the TOML that names methods, datasets, trials and hyper-parameters |
//! | [`jobs`] | the runs that it stands for |
//! | [`folder`] | the folder of a sweep and what became of each job |
//! | [`claim`] | which worker does which job |
//! | [`worker`] | doing them, one after the other |
//! | [`team`] | several workers on one machine |
//! | [`slurm`] | workers as a job array |
//! | [`estimate`] | what a sweep will take |
//! | [`status`] | how far it is |
//! | [`collect`] | its results in a small folder |

pub mod claim;
pub mod collect;
pub mod estimate;
pub mod file;
pub mod folder;
pub mod jobs;
mod owner;
pub mod slurm;
pub mod status;
pub mod team;
pub mod worker;

pub use file::SweepFile;
pub use folder::Folder;
pub use jobs::Job;
pub use worker::{Options, Tally, work};
