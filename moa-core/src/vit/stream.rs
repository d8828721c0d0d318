//! The residual stream between blocks.

use crate::error::Result;
use candle_core::Tensor;
use moa_kernels::frozen::{Half, stretch};

/// The stream, with frozen halves of blocks that it has still to pass: as many as
/// possible pass as one operation.
pub struct Stream {
    x: Tensor,
    /// For the first half, if it does not compute its own.
    qkv: Option<Tensor>,
    halves: Vec<Half>,
}

impl Stream {
    /// A stream that has passed everything.
    pub fn new(x: Tensor) -> Self {
        Self { x, qkv: None, halves: Vec::new() }
    }

    /// A stream that goes through an attention half whose qkv is given.
    pub fn with_qkv(x: Tensor, qkv: Tensor, half: Half) -> Self {
        Self { x, qkv: Some(qkv), halves: vec![half] }
    }

    /// Adds a half.
    pub fn push(&mut self, half: Half) {
        self.halves.push(half);
    }

    /// The stream behind everything, `[b, n, dim]`.
    ///
    /// # Errors
    /// If a half does not fit.
    pub fn settle(self) -> Result<Tensor> {
        if self.halves.is_empty() {
            return Ok(self.x);
        }
        Ok(stretch(&self.x, self.qkv.as_ref(), self.halves)?)
    }
}
