//! Where a tile reads its operands.

use super::super::pack::{self, Source};
use super::super::packed::Part;
use super::super::tile::{Ahead, COLS, LANES, Lines, Segment};
use super::super::view::{Later, View};
use super::Stage;
use super::scratch::Aligned;
use std::ops::Range;

impl Stage<'_> {
    /// True if a panel of a part is read where it is.
    pub(super) fn is_in_place(&self, panel: usize) -> bool {
        self.in_place && (panel + 1) * COLS <= self.n
    }

    /// Directs the segments to a panel, the copy of number `index` or itself.
    pub(super) fn point_to(
        &self,
        segments: &mut [Segment],
        panel: usize,
        index: usize,
        copies: &[f32],
    ) {
        let mut at = index * self.depth * COLS;
        for (segment, part) in segments.iter_mut().zip(self.parts) {
            let b = &self.job.terms[part.term].1;
            (segment.b, segment.b_stride) = match self.is_in_place(panel) {
                true => {
                    let from = part.steps.start * b.row_stride + panel * COLS;
                    (b.data[from..].as_ptr(), b.row_stride)
                }
                false => (copies[at..].as_ptr(), COLS),
            };
            at += segment.depth * COLS;
        }
    }

    /// The parts, each with the source of its rows.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&Part, Source)> {
        self.parts.iter().zip(self.sources.iter().copied())
    }

    /// Elements of what is copied of the rows of one tile.
    pub(super) fn tile_len(&self) -> usize {
        let copied = self.parts().filter(|(_, source)| *source == Source::Tile);
        copied.map(|(part, _)| pack::tile_len(part.steps.len())).sum()
    }

    /// Rows of a part where they are, from `row` on, and their strides.
    pub(super) fn itself(&self, part: &Part, row: usize) -> (*const f32, usize, usize) {
        let View { data, row_stride, col_stride, .. } = self.job.terms[part.term].0;
        let first = row * row_stride + part.steps.start * col_stride;
        (data[first..].as_ptr(), row_stride, col_stride)
    }

    /// What a tile reads of `count` rows of `a`.
    pub(super) fn segments(
        &self,
        row: usize,
        count: usize,
        copies: &[Aligned],
        mut free: &mut [f32],
        to: &mut Vec<Segment>,
    ) {
        to.clear();
        for ((part, source), whole) in self.parts().zip(copies) {
            let depth = part.steps.len();
            let (a, row_stride, col_stride) = match source {
                Source::Itself => self.itself(part, row),
                Source::Tile => {
                    let own;
                    (own, free) = free.split_at_mut(pack::tile_len(depth));
                    self.copy_tile(part, row, count, own);
                    (own.as_ptr(), 1, LANES)
                }
                Source::Whole => {
                    (whole.all()[row / self.rows() * depth * LANES..].as_ptr(), 1, LANES)
                }
            };
            to.push(Segment { a, row_stride, col_stride, b: a, b_stride: COLS, depth });
        }
    }

    /// Share `index` of `shares` of what the next tile, of the first rows of `next`, reads.
    pub(super) fn ahead(&self, next: Range<usize>, index: usize, shares: usize) -> Ahead {
        let Some(part) = self.parts.first().filter(|_| !next.is_empty()) else {
            return Ahead::NONE;
        };
        let (a, steps) = (&self.job.terms[part.term].0, &part.steps);
        if a.col_stride != 1 {
            return Ahead::NONE;
        }
        let from = a.data[next.start * a.row_stride + steps.start..].as_ptr();
        let (row_stride, rows, len) = (a.row_stride, self.rows(), steps.len());
        Lines { from, row_stride, rows, len }.share(index, shares, len)
    }

    /// The share of the tile of `row` and `col` in what is read after the product, as if all tiles
    /// were of one height.
    pub(super) fn afterwards(&self, row: usize, col: usize, segments: &[Segment]) -> Ahead {
        let Later { address, row_stride, rows, len } = self.job.terms[0].0.later;
        if rows * len == 0 {
            return Ahead::NONE;
        }
        let (height, panels) = (self.tile_rows, self.n.div_ceil(COLS));
        let (index, shares) =
            (row / height * panels + col / COLS, self.m.div_ceil(height) * panels);
        let from = std::ptr::without_provenance(address);
        let depth = segments.iter().map(|s| s.depth).sum();
        Lines { from, row_stride, rows, len }.share(index, shares, depth)
    }
}
