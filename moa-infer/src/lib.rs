//! Using a trained mixture of adapters: predict, evaluate, extract features,
//! merge, inspect.
//!
//! | module | what it holds |
//! |---|---|
//! | [`spec`] | finding the backbone that a user names |
//! | [`predictor`], [`foreign`] | a classifier ready for images, from our adapters or PEFT's |
//! | [`inputs`], [`prefetch`] | image lists, decoding ahead in parallel |
//! | [`dataset`], [`split`] | environments, classes, DomainBed's splits |
//! | [`evaluate`], [`metrics`], [`calibration`] | accuracy, confusion, honest probabilities |
//! | [`features`], [`merge`], [`export`], [`inspect`] | the other commands |
//! | [`csv`] | fields of CSV |
//! | [`routes`] | routing maps |
//! | [`machine`] | what a report says about this machine |
//! | [`zero_shot`] | classes from their names, with CLIP |
//! | [`cli`] | the `moa-infer` program |

#![forbid(unsafe_code)]

pub mod calibration;
pub mod cli;
pub mod csv;
pub mod dataset;
pub mod evaluate;
pub mod exit;
pub mod export;
pub mod features;
pub mod foreign;
pub mod hub;
pub mod inputs;
pub mod inspect;
pub mod labels;
pub mod machine;
pub mod merge;
pub mod metrics;
pub mod predictor;
pub mod prefetch;
pub mod routes;
pub mod spec;
pub mod split;
pub mod zero_shot;
