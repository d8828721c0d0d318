//! Few rows times a matrix in panels: it is read where it is, once, one panel after the other by
//! all rows. These are copied before, for all threads, if they are not read where they are.
//!
//! Many rows would write to the result all over: for them panels are copied as others are.

use super::super::pack::{self, Source};
use super::super::tile::{Ahead, COLS, LANES, Lines, Segment};
use super::Stage;
use super::scratch::Aligned;
use crate::cpu::Scattered;
use std::ops::Range;

impl Stage<'_> {
    pub(super) fn run_by_panels(&self, panels: usize) {
        let copies = self.copy_tiles();
        self.for_each(panels, |panel| {
            let mut segments = Vec::with_capacity(self.parts.len());
            for tile in 0..self.tiles() {
                let (row, rows) = self.span_of(tile);
                self.segments_of(tile, panel, &copies, &mut segments);
                let ahead = self.panel_ahead(panel + 1..panels, tile);
                self.tile((row, rows), panel * COLS, self.into, &segments, &ahead);
            }
        });
    }

    /// First row and rows of a tile: of 197 none is left alone by fourteen times 14.
    fn span_of(&self, tile: usize) -> (usize, usize) {
        let at = |tile: usize| self.m * tile / self.tiles();
        (at(tile), at(tile + 1) - at(tile))
    }

    /// All tiles, each with the steps of the parts that are copied.
    fn copy_tiles(&self) -> Aligned {
        let size = self.tile_len();
        let mut memory = Aligned::new(self.tiles() * size);
        if size == 0 {
            return memory;
        }
        let all = Scattered::new(memory.all_mut());
        self.for_each(self.tiles(), |tile| {
            // SAFETY: every tile is its own.
            let mut to = unsafe { all.row(tile * size, size) };
            let (row, rows) = self.span_of(tile);
            for (part, _) in self.parts().filter(|(_, source)| *source == Source::Tile) {
                let own;
                (own, to) = to.split_at_mut(pack::tile_len(part.steps.len()));
                self.copy_tile(part, row, rows, own);
            }
        });
        memory
    }

    /// What a tile reads for a panel.
    fn segments_of(&self, tile: usize, panel: usize, copies: &Aligned, to: &mut Vec<Segment>) {
        let mut at = tile * self.tile_len();
        to.clear();
        for (part, source) in self.parts() {
            let (b, depth) = (&self.job.terms[part.term].1, part.steps.len());
            let (a, row_stride, col_stride) = match source {
                Source::Tile => {
                    at += pack::tile_len(depth);
                    (copies.all()[at - pack::tile_len(depth)..].as_ptr(), 1, LANES)
                }
                _ => self.itself(part, self.span_of(tile).0),
            };
            let b = b.data[(panel * b.rows + part.steps.start) * COLS..].as_ptr();
            to.push(Segment { a, row_stride, col_stride, b, b_stride: COLS, depth });
        }
    }

    /// Share `tile` of the first of the `next` panels, if there is one.
    fn panel_ahead(&self, next: Range<usize>, tile: usize) -> Ahead {
        let Some(part) = self.parts.first().filter(|_| !next.is_empty()) else {
            return Ahead::NONE;
        };
        let (b, depth) = (&self.job.terms[part.term].1, part.steps.len());
        let from = b.data[(next.start * b.rows + part.steps.start) * COLS..].as_ptr();
        Lines { from, row_stride: depth, rows: COLS, len: depth }.share(tile, self.tiles(), depth)
    }
}
