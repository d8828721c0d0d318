//! Memory for copies, kept from unit to unit.

use super::super::tile::LANES;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    /// As large as the largest that the thread has needed.
    pub static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A number for a stage that no other has; 0 is nobody's.
pub fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Copies that one thread reads.
#[derive(Default)]
pub struct Scratch {
    /// Panel after panel, each with the steps of all parts.
    pub panels: Aligned,
    /// The number of the stage that those are of, and which they are.
    pub held: (usize, Range<usize>),
    /// The rows of one tile.
    pub tile: Aligned,
}

/// Memory that starts on a cache line. What it holds is not defined until written.
#[derive(Default)]
pub struct Aligned(Vec<f32>);

impl Aligned {
    pub fn new(len: usize) -> Self {
        Self(crate::cpu::unset(if len == 0 { 0 } else { len + LANES }))
    }

    pub fn reserve(&mut self, len: usize) {
        if self.0.len() < len + LANES {
            *self = Self::new(len);
        }
    }

    fn start(&self) -> usize {
        self.0.as_ptr().align_offset(64).min(self.0.len())
    }

    pub fn all(&self) -> &[f32] {
        &self.0[self.start()..]
    }

    pub fn all_mut(&mut self) -> &mut [f32] {
        let start = self.start();
        &mut self.0[start..]
    }
}
