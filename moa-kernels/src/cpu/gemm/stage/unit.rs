//! The tiles of one unit.

use super::super::flip;
use super::super::tile::{Ahead, COLS, Place, Segment, Start, tile};
use super::scratch::Scratch;
use super::{Copies, Into, Stage};
use std::ops::Range;

impl Stage<'_> {
    /// The tiles of the rows from `row` on and of `panels`.
    pub(super) fn compute(
        &self,
        row: usize,
        panels: Range<usize>,
        copies: &Copies,
        scratch: &mut Scratch,
    ) {
        let mut segments = Vec::with_capacity(self.parts.len());
        scratch.tile.reserve(self.tile_len());
        let first = match copies.panels {
            Some(_) => 0,
            None => {
                self.copy_panels(panels.clone(), scratch);
                panels.start
            }
        };
        let count = (self.m - row).min(self.rows());
        self.segments(row, count, &copies.rows, scratch.tile.all_mut(), &mut segments);
        for (i, panel) in panels.clone().enumerate() {
            let all = copies.panels.as_ref().unwrap_or(&scratch.panels).all();
            self.point_to(&mut segments, panel, panel - first, all);
            let ahead = self.ahead(row + self.rows()..self.m, i, panels.len());
            self.tile((row, count), panel * COLS, self.into, &segments, &ahead);
        }
    }

    /// `rows` rows from `row` on of the panel whose first column is `col`.
    pub(super) fn tile(
        &self,
        (row, rows): (usize, usize),
        col: usize,
        into: Into<'_, f32>,
        segments: &[Segment],
        ahead: &Ahead,
    ) {
        let (stride, cols) = (self.job.stride, (self.n - col).min(COLS));
        let later = self.afterwards(row, col, segments);
        let ahead = if later.is_empty() { ahead } else { &later };
        let flipped = self.job.flipped;
        // In the result.
        let (y, x, width) = if flipped { (col, row, self.m) } else { (row, col, self.n) };
        let start = match into {
            Into::Set => Start::Zero,
            Into::Add => Start::There,
            Into::Rows(all) => Start::Row(all[x..].as_ptr()),
            Into::Over(matrix, all) => {
                let bias = all.map_or(std::ptr::null(), |all| all[x..].as_ptr());
                Start::Over(matrix[y * width + x..].as_ptr(), width, bias)
            }
        };
        // SAFETY: tiles do not overlap, but between their rows lie other tiles: the
        // pointers are for the elements of this tile alone. It lies inside `dst` by the
        // checks of `gemm`, and so do the operands inside theirs.
        unsafe {
            let c = self.job.dst.pointer(y * stride + x);
            let place = Place { c, stride, rows, cols };
            match flipped {
                true => flip::tile(self.job.isa, place, start, segments, ahead),
                false => tile(self.job.isa, place, start, segments, ahead),
            }
        }
    }
}
