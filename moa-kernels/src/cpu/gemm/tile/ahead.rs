//! Fetching what comes after a tile.

use super::LANES;
use std::arch::x86_64::*;

/// Steps of a tile between two fetches: with AVX2, of all its parts together.
const STEPS: usize = 8;

/// Rows of a matrix that will be read, `len` elements of each.
#[derive(Clone, Copy)]
pub struct Lines {
    pub from: *const f32,
    pub row_stride: usize,
    pub rows: usize,
    pub len: usize,
}

impl Lines {
    /// Share `index` of `shares` of them, in a tile of `depth` steps.
    pub fn share(self, index: usize, shares: usize, depth: usize) -> Ahead {
        let Self { from, row_stride, rows, len } = self;
        let lines = len.div_ceil(LANES);
        let (first, end) = (rows * lines * index / shares, rows * lines * (index + 1) / shares);
        let from = from.wrapping_add(first / lines.max(1) * row_stride);
        let (line, left) = (first % lines.max(1), end - first);
        Ahead { from, row_stride, lines, line, left, each: left.div_ceil((depth / STEPS).max(1)) }
    }
}

/// Rows that the next tile will read, or that are read after all of them: fetched into the
/// second-level cache meanwhile, as the processor does not foresee the jump from tile to tile.
///
/// One or the other: to look after both in the innermost loop takes 5 % of all products' time.
///
/// Handed on by reference: a copy is read in larger pieces than it was written a moment before, which
/// waits until everything written earlier, the tile before among it, has reached the cache.
#[derive(Clone, Copy)]
pub struct Ahead {
    from: *const f32,
    row_stride: usize,
    /// Cache lines of a row.
    lines: usize,
    line: usize,
    /// Lines still to fetch in this tile.
    left: usize,
    /// Lines to fetch each time.
    each: usize,
}

impl Ahead {
    /// Nothing.
    pub const NONE: Self =
        Self { from: std::ptr::null(), row_stride: 0, lines: 0, line: 0, left: 0, each: 0 };

    /// True if nothing is left to fetch.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// All of them.
    pub fn fetch_all(mut self) {
        self.each = self.left;
        self.fetch();
    }

    /// The next lines, if any are left.
    #[inline(always)]
    pub(super) fn fetch(&mut self) {
        for _ in 0..self.each.min(self.left) {
            let next = self.from.wrapping_add(self.line * LANES);
            // SAFETY: fetching ahead is allowed for any address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(next.cast()) };
            self.left -= 1;
            self.line += 1;
            if self.line == self.lines {
                (self.line, self.from) = (0, self.from.wrapping_add(self.row_stride));
            }
        }
    }
}
