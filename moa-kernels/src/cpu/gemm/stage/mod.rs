//! One stage of a product. A task computes some rows of some columns: it copies the
//! columns of `b` into panels of the width of a tile, few enough to stay in its cache,
//! unless the task before it on the same thread did, then computes tile after tile from them.

mod by_panels;
mod copies;
mod in_place;
mod operands;
mod scratch;
mod task;

use super::pack::{self, Source};
use super::packed::{Job, Part};
use super::tile::{COLS, LANES};
use super::{Into, Term};
use rayon::prelude::*;
use scratch::{Aligned, SCRATCH};

/// Tasks of a thread, about.
const SHARES: usize = 6;
/// Tiles that are computed in the time in which a panel is copied.
const COPY: usize = 2;

/// What all tasks read.
struct Copies {
    /// Of the rows of each part, if they are not read elsewhere.
    rows: Vec<Aligned>,
    /// All panels, if they are not copied by each task.
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
        let source = |p: &Part| pack::source(most, &job.terms[p.term].0, n.div_ceil(COLS));
        let sources: Vec<_> = parts.iter().map(source).collect();
        let columns = job.terms.iter().all(|(_, b)| b.col_stride == 1 && !b.in_panels);
        let few = m <= 2 * most && !job.flipped && !sources.contains(&Source::Whole);
        let in_place = columns && few;
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

    pub fn run(&self) {
        let panels = self.n.div_ceil(COLS);
        if self.by_panels {
            return self.run_by_panels(panels);
        }
        // So few that all tasks can read the same copies of them from their caches.
        let shared =
            !self.alone && !self.in_place && panels * self.depth * COLS <= self.job.isa.panels();
        let copies =
            Copies { rows: self.copy_rows(), panels: shared.then(|| self.copy_all_panels(panels)) };
        let (height, width) = self.task_size();
        let (down, across) = (self.m.div_ceil(height), panels.div_ceil(width));
        self.for_each(down * across, |task| {
            // Neighbours have the same panels: a thread copies them for the first.
            let (row, panel) = (task % down * height, task / down * width);
            let (rows, panels) = (row..self.m.min(row + height), panel..panels.min(panel + width));
            SCRATCH.with_borrow_mut(|scratch| self.compute(rows, panels, &copies, scratch));
        });
    }

    fn for_each(&self, count: usize, f: impl Fn(usize) + Sync + Send) {
        match self.alone {
            true => (0..count).for_each(f),
            false => (0..count).into_par_iter().for_each(f),
        }
    }

    /// Rows and panels of a task: such that all threads are done at about the same time.
    fn task_size(&self) -> (usize, usize) {
        let (tiles, panels) = (self.m.div_ceil(self.rows()), self.n.div_ceil(COLS));
        let most = (self.job.isa.panels() / (self.depth * COLS).max(1)).clamp(1, panels);
        if self.alone {
            return (tiles * self.rows(), most);
        }
        let threads = rayon::current_num_threads();
        // A thread that comes late, or is slow, takes fewer tasks.
        let enough = (SHARES * threads).min(tiles * panels);
        let mut best = (usize::MAX, (tiles * self.rows(), most));
        for across in panels.div_ceil(most)..=panels {
            let width = panels.div_ceil(across);
            for down in enough.div_ceil(across)..=enough.div_ceil(across) + threads {
                let height = tiles.div_ceil(down);
                let tasks = tiles.div_ceil(height) * panels.div_ceil(width);
                // In tiles: copying a panel costs as much as some, copying rows less than one. Every
                // task is counted as if it copied its panels.
                // Flipped, every task of the same rows reads the weight once more.
                let rows = if self.job.flipped { height } else { height.div_ceil(3) };
                let cost = tasks.div_ceil(threads) * (height * width + COPY * width + rows);
                if tasks >= enough.min(2 * threads) && cost < best.0 {
                    best = (cost, (height * self.rows(), width));
                }
            }
        }
        best.1
    }
}
