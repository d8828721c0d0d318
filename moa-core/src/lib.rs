//! Vision transformers with mixtures of adapters.
//!
//! | module | what it holds |
//! |---|---|
//! | [`image`] | decoding and the evaluation transform, pixel-exact with Pillow |
//! | [`backbone`] | pretrained weights in six on-disk layouts, by one set of names |
//! | [`vit`] | the transformer, one for all backbones |
//! | [`adapter`] | LoRA and Kronecker experts, the router, the adapted linear layer |
//! | [`method`] | what trains: presets, placement, parameter counts, initial values |
//! | [`clip`] | the text tower of CLIP, its tokenizer, zero-shot classes |
//! | [`peft`] | adapters of Python's PEFT, read and written |
//! | [`model`] | backbone + adapters + head, and the adapter folder |

#![forbid(unsafe_code)]

pub mod adapter;
pub mod backbone;
pub mod clip;
pub mod device;
pub mod error;
pub mod files;
pub mod hash;
pub mod image;
pub mod method;
pub mod model;
pub mod param;
pub mod pass;
pub mod peft;
pub mod suggest;
pub mod vit;

pub use candle_core as candle;
pub use error::{Error, Result};
