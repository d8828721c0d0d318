//! CLIP's text side: tokenizer, text tower, classes from their names.

mod block;
mod config;
mod tokenizer;
mod tower;
mod zero_shot;

pub use config::{TextConfig, TextPool};
pub use tokenizer::TextTokenizer;
pub use tower::TextTower;
pub use zero_shot::{TEMPLATE, ZeroShot};
