//! The Hub: pulls and pushes against a server in this process, with everything that can
//! go wrong on the way. `peers/run` has Python's client talk to the same server.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod cli;
mod faults;
mod publish;
mod pull;
mod push;
mod serve;
mod server;
