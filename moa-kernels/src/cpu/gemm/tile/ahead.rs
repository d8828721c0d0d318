//! Fetching what the next tile reads.

use super::LANES;
use std::arch::x86_64::*;

/// Steps of a tile between two fetches: with AVX2, of all its parts together.
const STEPS: usize = 8;

/// Rows that the next tile will read: fetched into the second-level cache meanwhile,
/// as the processor does not foresee the jump from tile to tile.
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

    /// Share `index` of `shares` of `rows` rows of `depth` elements.
    pub fn new(
        from: *const f32,
        row_stride: usize,
        (rows, depth): (usize, usize),
        index: usize,
        shares: usize,
    ) -> Self {
        let lines = depth.div_ceil(LANES);
        let (first, end) = (rows * lines * index / shares, rows * lines * (index + 1) / shares);
        let from = from.wrapping_add(first / lines.max(1) * row_stride);
        let (line, left) = (first % lines.max(1), end - first);
        Self { from, row_stride, lines, line, left, each: left.div_ceil((depth / STEPS).max(1)) }
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
