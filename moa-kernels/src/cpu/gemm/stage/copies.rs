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

    /// Every panel, before the units begin.
    pub(super) fn copy_all_panels(&self, panels: usize) -> Aligned {
        let size = self.depth * COLS;
        let mut memory = Aligned::new(panels * size);
        let all = Scattered::new(memory.all_mut());
        self.for_each(panels, |panel| {
            // SAFETY: every panel is its own.
            self.copy_panel(panel, unsafe { all.row(panel * size, size) });
        });
        memory
    }

    /// The panels into `scratch`, unless this thread's last unit had the same, and without those
    /// that are read where they are.
    pub(super) fn copy_panels(&self, panels: Range<usize>, scratch: &mut Scratch) {
        let held = (self.number, panels.clone());
        if scratch.held == held {
            return;
        }
        scratch.held = held;
        let size = self.depth * COLS;
        scratch.panels.reserve(panels.len() * size);
        let copies = scratch.panels.all_mut().chunks_exact_mut(size.max(1));
        for (panel, to) in panels.zip(copies) {
            if !self.is_in_place(panel) {
                self.copy_panel(panel, to);
            }
        }
    }

    fn copy_panel(&self, panel: usize, mut to: &mut [f32]) {
        for Part { term, steps } in self.parts {
            let own;
            (own, to) = to.split_at_mut(steps.len() * COLS);
            let b = &self.job.terms[*term].1;
            // SAFETY: the machine has it.
            unsafe { pack::panel(self.job.isa, b, steps.clone(), panel * COLS, own) };
        }
    }
}
