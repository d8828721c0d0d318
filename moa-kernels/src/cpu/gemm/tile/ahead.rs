//! Fetching what the next tile reads.

use super::LANES;
use std::arch::x86_64::*;

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
}

impl Ahead {
    /// Nothing.
    pub const NONE: Self =
        Self { from: std::ptr::null(), row_stride: 0, lines: 0, line: 0, left: 0 };

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
        Self { from, row_stride, lines, line: first % lines.max(1), left: end - first }
    }

    /// The next line, if any is left.
    #[inline(always)]
    pub(super) fn fetch(&mut self) {
        if self.left == 0 {
            return;
        }
        // SAFETY: fetching ahead is allowed for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(self.from.wrapping_add(self.line * LANES).cast()) };
        self.left -= 1;
        self.line += 1;
        if self.line == self.lines {
            (self.line, self.from) = (0, self.from.wrapping_add(self.row_stride));
        }
    }
}
