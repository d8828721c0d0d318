//! One stage of a product. A unit of its work is the tiles of the same rows in some panels: columns
//! of `b`, as many as a tile has, copied. They are few enough to stay in the cache of a thread,
//! which copies them for the first of the units that it computes from them.

mod by_panels;
mod copies;
mod in_place;
mod operands;
mod scratch;
mod unit;

use super::pack::{self, Source};
use super::packed::{Job, Part};
use super::tile::{COLS, LANES};
use super::{Into, Term};
use crate::cpu::share_out;
use scratch::{Aligned, SCRATCH};

/// Tiles that are computed in the time in which a panel is copied.
const COPY: usize = 2;

/// What all units read.
struct Copies {
    /// Of the rows of each part, if they are not read elsewhere.
    rows: Vec<Aligned>,
    /// All panels, if they are not copied by each thread.
    panels: Option<Aligned>,
}

pub struct Stage<'a> {
    job: &'a Job<'a>,
    into: Into<'a, f32>,
    parts: &'a [Part],
    /// Where the rows of each part are read.
    sources: Vec<Source>,
    /// By the calling thread.
    alone: bool,
    /// The rows are so few, and the columns contiguous, that panels are not copied.
    in_place: bool,
    /// All columns are in panels, and a copy of all rows stays in the second-level cache.
    by_panels: bool,
    /// Rows of a tile then: all tiles alike.
    tile_rows: usize,
    depth: usize,
    /// No other stage has it.
    number: usize,
    m: usize,
    n: usize,
}

impl<'a> Stage<'a> {
    pub fn new(job: &'a Job<'a>, into: Into<'a, f32>, parts: &'a [Part], alone: bool) -> Self {
        let depth = parts.iter().map(|p| p.steps.len()).sum();
        let (m, n) = (job.terms[0].0.rows, job.terms[0].1.cols);
        let most = job.isa.rows();
        let columns = job.terms.iter().all(|(_, b)| b.col_stride == 1 && !b.in_panels);
        let few = columns && m <= 2 * most && !job.flipped;
        let source = |p: &Part| pack::source(job.isa, &job.terms[p.term].0, n.div_ceil(COLS), few);
        let sources: Vec<_> = parts.iter().map(source).collect();
        let in_place = few && !sources.contains(&Source::Whole);
        let suits = |(a, b): &Term<'_, f32>| a.col_stride == 1 && b.in_panels;
        let small = m.div_ceil(most) * depth * LANES <= job.isa.panels();
        let by_panels = small && job.terms.iter().all(suits);
        let tile_rows = m.div_ceil(m.div_ceil(most));
        let number = scratch::number();
        Self {
            job,
            into,
            parts,
            sources,
            alone,
            in_place,
            by_panels,
            tile_rows,
            depth,
            number,
            m,
            n,
        }
    }

    /// Rows of a tile.
    fn rows(&self) -> usize {
        self.job.isa.rows()
    }

    /// Tiles above each other.
    fn tiles(&self) -> usize {
        self.m.div_ceil(self.rows())
    }

    pub fn run(&self) {
        let panels = self.n.div_ceil(COLS);
        if self.by_panels {
            return self.run_by_panels(panels);
        }
        // So few that all threads can read the same copies of them from their caches.
        let shared =
            !self.alone && !self.in_place && panels * self.depth * COLS <= self.job.isa.panels();
        let copies =
            Copies { rows: self.copy_rows(), panels: shared.then(|| self.copy_all_panels(panels)) };
        if self.in_place {
            return self.run_in_place(panels, &copies);
        }
        let (width, tiles) = (self.width(panels, shared), self.tiles());
        // Neighbours have the same panels: a thread copies them for the first.
        self.for_each(tiles * panels.div_ceil(width), |unit| {
            let (row, panel) = (unit % tiles * self.rows(), unit / tiles * width);
            let panels = panel..panels.min(panel + width);
            SCRATCH.with_borrow_mut(|scratch| self.compute(row, panels, &copies, scratch));
        });
    }

    fn for_each(&self, count: usize, f: impl Fn(usize) + Sync) {
        match self.alone {
            true => (0..count).for_each(f),
            false => share_out(count, || (), |(), i| f(i)),
        }
    }

    /// Panels of a unit, which is as high as a tile: no more than a thread's cache has room for,
    /// and such that all threads are done at about the same time.
    fn width(&self, panels: usize, shared: bool) -> usize {
        let most = (self.job.isa.panels() / (self.depth * COLS).max(1)).clamp(1, panels);
        if self.alone {
            return most;
        }
        let (threads, tiles) = (rayon::current_num_threads(), self.tiles());
        let cost = |width: usize| {
            let groups = panels.div_ceil(width);
            // Of a thread, unless copied for all: where shares do not end between groups, it copies
            // those at both ends of its own though others do, too.
            let even = groups.is_multiple_of(threads) || threads.is_multiple_of(groups);
            let own = if shared { 0 } else { groups.div_ceil(threads) + usize::from(!even) };
            // In thirds of a tile: copying a panel costs as much as some, beginning with other rows
            // less than one. Flipped, every unit of the same rows reads the weight once more.
            let rows = if self.job.flipped { 3 } else { 1 };
            (tiles * groups).div_ceil(threads) * (3 * width + rows) + 3 * COPY * width * own
        };
        let widths = (panels.div_ceil(most)..=panels).map(|groups| panels.div_ceil(groups));
        widths.min_by_key(|&width| cost(width)).unwrap_or(most)
    }
}
