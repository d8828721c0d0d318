//! The DomainBed protocol (Gulrajani and Lopez-Paz, "In search of lost domain
//! generalization"): which checkpoint is reported, and how the numbers of many
//! runs become a table. Which samples are held out is [`moa_infer::split`]'s.
//!
//! Everything here gives the results of the published programs to the last
//! digit: a split is the same list of samples, a table the same text.
//!
//! | module | what |
//! |---|---|
//! | [`hparams`] | default and random hyper-parameters |
//! | [`record`], [`args`], [`results`] | `results.jsonl`: a line, a file, a sweep |
//! | [`select`], [`choose`] | selection within and across hyper-parameter seeds |
//! | [`summary`] | selection within one run |
//! | [`table`], [`report`] | mean, standard error, trials |

pub mod args;
mod axes;
pub mod choose;
pub mod hparams;
mod numeric;
mod python_json;
pub mod record;
pub mod report;
pub mod results;
pub mod select;
pub mod summary;
pub mod table;
