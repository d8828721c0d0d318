//! A few rows times a matrix that is read where it is.

use super::super::tile::{Ahead, COLS, Lines, Segment};
use super::scratch::{SCRATCH, Scratch};
use super::{Copies, Into, Stage};
use std::ops::Range;

/// Rows of the matrix that all tiles of a unit read before it goes on to the next ones. In the time
/// those are fetched, one whole row after the other, as they lie in memory: what a tile reads of
/// each is but two cache lines, which no processor foresees.
const STEPS: usize = 128;
/// Units of a thread, about.
const UNITS: usize = 6;

impl Stage<'_> {
    pub(super) fn run_in_place(&self, panels: usize, copies: &Copies) {
        let units = if self.alone { 1 } else { UNITS * rayon::current_num_threads() };
        let width = panels.div_ceil(units);
        self.for_each(panels.div_ceil(width), |unit| {
            let panels = unit * width..panels.min((unit + 1) * width);
            SCRATCH.with_borrow_mut(|scratch| self.compute_in_place(panels, copies, scratch));
        });
    }

    /// The tiles of `panels`.
    fn compute_in_place(&self, panels: Range<usize>, copies: &Copies, scratch: &mut Scratch) {
        // Of the last panel of all there may be a copy.
        self.copy_panels(panels.end - 1..panels.end, scratch);
        let len = self.tile_len();
        scratch.tile.reserve(self.m.div_ceil(self.tile_rows) * len);
        let mut free = scratch.tile.all_mut();
        let mut tiles = Vec::new();
        for row in (0..self.m).step_by(self.tile_rows) {
            let own;
            (own, free) = free.split_at_mut(len);
            let (place, mut segments) = ((row, (self.m - row).min(self.tile_rows)), Vec::new());
            self.segments(place.0, place.1, &copies.rows, own, &mut segments);
            tiles.push((place, segments));
        }
        if self.depth == 0 {
            for (panel, (place, _)) in
                panels.clone().flat_map(|p| tiles.iter().map(move |t| (p, t)))
            {
                self.tile(*place, panel * COLS, self.into, &[], &Ahead::NONE);
            }
        }
        let mut into = self.into;
        for (part, steps) in self.stretches() {
            let next = self.parts[part].steps.len().min(steps.end + STEPS);
            for (i, panel) in panels.clone().enumerate() {
                self.later(part, steps.end..next, &panels, i).fetch_all();
                for (place, segments) in &mut tiles {
                    self.point_to(segments, panel, 0, scratch.panels.all());
                    let all = segments[part];
                    let stretch = Segment {
                        a: all.a.wrapping_add(steps.start * all.col_stride),
                        b: all.b.wrapping_add(steps.start * all.b_stride),
                        depth: steps.len(),
                        ..all
                    };
                    self.tile(*place, panel * COLS, into, &[stretch], &Ahead::NONE);
                }
            }
            into = Into::Add;
        }
    }

    /// All steps, as stretches of parts.
    fn stretches(&self) -> Vec<(usize, Range<usize>)> {
        let mut all = Vec::new();
        for (part, len) in self.parts.iter().map(|part| part.steps.len()).enumerate() {
            let starts = (0..len).step_by(STEPS);
            all.extend(starts.map(|start| (part, start..len.min(start + STEPS))));
        }
        all
    }

    /// Share `index` of what tiles read in some steps of a part.
    fn later(
        &self,
        part: usize,
        steps: Range<usize>,
        panels: &Range<usize>,
        index: usize,
    ) -> Ahead {
        if steps.is_empty() {
            return Ahead::NONE;
        }
        let part = &self.parts[part];
        let (b, start) = (&self.job.terms[part.term].1, panels.start * COLS);
        let width = self.n.min(panels.end * COLS) - start;
        let from = b.data[(part.steps.start + steps.start) * b.row_stride + start..].as_ptr();
        let lines = Lines { from, row_stride: b.row_stride, rows: steps.len(), len: width };
        lines.share(index, panels.len(), STEPS)
    }
}
