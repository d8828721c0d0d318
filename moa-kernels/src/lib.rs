//! Differentiable operations of mixture-of-adapters vision transformers.

pub mod rng;
