//! Adapters: small trainable parts of a frozen linear layer.
//!
//! [`Linear`] is the layer, [`Adapter`] what it may carry: a [`Router`] (if there
//! is more than one expert), [`Experts`] of one kind and different capacity, and
//! a bias. A [`Compacter`] stands behind a layer instead of beside its weight.

mod compacter;
mod config;
mod experts;
mod init;
mod linear;
mod router;

pub use compacter::Compacter;
pub use config::{AdapterConfig, AdapterKind, AuxThreshold, Bend, RouterConfig, RouterKind};
pub use experts::Experts;
pub use init::{Init, shared_tensors, tensors};
pub use linear::{Adapter, Linear};
pub use router::Router;
