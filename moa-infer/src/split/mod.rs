//! DomainBed's splits: which samples of an environment are held out.
//!
//! | module | what |
//! |---|---|
//! | [`split`] | the held-out fifth of every environment |
//! | [`seed`], [`mt19937`] | seeds, and numpy's legacy generator |

pub mod mt19937;
pub mod seed;
#[allow(clippy::module_inception)]
pub mod split;

pub use split::{Split, SplitError, split_environment};
