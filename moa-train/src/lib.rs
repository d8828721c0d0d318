//! Fine-tuning mixtures of adapters under the DomainBed protocol.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | keys, layers, the resolved configuration |
//! | [`protocol`] | records, selection rules and tables of DomainBed |
//! | [`augment`] | DomainBed's training transform, pixel-exact with Pillow |
//! | [`check`] | looking at a dataset before training |
//! | [`batches`] | sampling and loading |
//! | [`miro`] | a term of the loss that keeps features near the pretrained ones |
//! | [`optim`] | Adam, AdamW, schedules, clipping |
//! | [`checkpoint`] | checkpoints as whole, hashed sets |
//! | [`run_file`] | files of a run that hold one JSON object |
//! | [`fit`] | the training loop |
//! | [`report`] | tables and pictures of many runs |
//! | [`analysis`] | what a run has learned |
//! | [`sweep`] | many runs of methods, environments and trials, by many workers |
//! | [`synth`] | generated images, for the demo and for the `tiny` backbone |
//! | [`random_backbone`] | backbones with random weights |
//! | [`tiny`] | pretraining of the embedded backbone |
//! | [`cli`] | the `moa-train` program |

#![forbid(unsafe_code)]

pub mod analysis;
pub mod augment;
pub mod batches;
pub mod check;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod fit;
mod host;
pub mod miro;
pub mod optim;
pub mod protocol;
pub mod push;
pub mod random_backbone;
pub mod report;
pub mod run_file;
pub mod swad;
pub mod sweep;
pub mod synth;
pub mod tiny;
