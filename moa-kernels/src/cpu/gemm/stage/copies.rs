//! Copies of operands that a stage makes: of all rows before, of panels in each thread.

use super::super::pack::{self, Source};
use super::super::packed::Part;
use super::super::tile::{COLS, LANES};
use super::Stage;
use super::scratch::{Aligned, Scratch};
use crate::cpu::Scattered;
use std::ops::Range;

/// Row tiles that are copied in one go.
const TILES: usize = 8;

impl Stage<'_> {
    pub(super) fn copy_rows(&self) -> Vec<Aligned> {
        let tiles = self.tiles();
        let copy = |(Part { term, steps }, source): (&Part, &Source)| {
            if *source != Source::Whole {
                return Aligned::new(0);
            }
            let size = steps.len() * LANES;
            let mut memory = Aligned::new(tiles * size);
            let all = Scattered::new(memory.all_mut());
            self.for_each(tiles.div_ceil(TILES), |unit| {
                let tiles = unit * TILES..tiles.min((unit + 1) * TILES);
                // SAFETY: every tile is its own.
                let to = unsafe { all.row(tiles.start * size, tiles.len() * size) };
                pack::whole(self.rows(), &self.job.terms[*term].0, steps.clone(), tiles, to);
            });
            memory
        };
        self.parts.iter().zip(&self.sources).map(copy).collect()
    }

    /// The rows of a part that one tile reads.
    pub(super) fn copy_tile(&self, part: &Part, row: usize, count: usize, to: &mut [f32]) {
        let (a, steps) = (&self.job.terms[part.term].0, part.steps.clone());
        // SAFETY: the machine has it.
        unsafe { pack::tile(self.job.isa, a, steps, row, count, to) };
    }

    /// Every panel, before the units begin.
    pub(super) fn copy_all_panels(&self, panels: usize) -> Aligned {
        let size = self.depth * COLS;
        let mut memory = Aligned::new(panels * size);
        let all = Scattered::new(memory.all_mut());
        self.for_each(panels, |panel| {
            // SAFETY: every panel is its own.
            self.copy(panel..panel + 1, unsafe { all.row(panel * size, size) });
        });
        memory
    }

    /// The panels into `scratch`, unless this thread's last unit had the same, and without one that
    /// is read where it is.
    pub(super) fn copy_panels(&self, panels: Range<usize>, scratch: &mut Scratch) {
        let held = (self.number, panels.clone());
        if scratch.held == held {
            return;
        }
        scratch.held = held;
        let size = self.depth * COLS;
        scratch.panels.reserve(panels.len() * size);
        if !self.is_in_place(panels.start) {
            self.copy(panels, scratch.panels.all_mut());
        }
    }

    /// All steps of panels, one after the other.
    fn copy(&self, panels: Range<usize>, mut to: &mut [f32]) {
        let apart = self.depth * COLS;
        for Part { term, steps } in self.parts {
            let b = &self.job.terms[*term].1;
            // SAFETY: the machine has it.
            unsafe { pack::panels(self.job.isa, b, steps.clone(), panels.clone(), to, apart) };
            to = &mut to[steps.len() * COLS..];
        }
    }
}
