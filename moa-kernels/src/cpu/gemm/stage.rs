//! One stage of a product. A task computes some rows of some columns: it copies the
//! columns of `b` into panels of the width of a tile, few enough to stay in its cache,
//! then computes tile after tile from them.

use super::Into;
use super::flip;
use super::pack::{self, Source};
use super::packed::{Job, Part};
use super::tile::{Ahead, COLS, LANES, Place, ROWS, Segment, Start, tile};
use crate::cpu::Scattered;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Elements of the panels of a task: 1.1 MiB of the second-level cache.
const PANELS: usize = 9 << 15;
/// Rows of a task, at least: copying the panels then costs little.
const ROWS_MIN: usize = 28 * ROWS;
/// Row tiles that are copied in one go.
const TILES: usize = 8;

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
    /// Rows of a tile then: all tiles alike.
    tile_rows: usize,
    depth: usize,
    m: usize,
    n: usize,
}

impl<'a> Stage<'a> {
    pub fn new(job: &'a Job<'a>, into: Into<'a, f32>, parts: &'a [Part], alone: bool) -> Self {
        let depth = parts.iter().map(|p| p.steps.len()).sum();
        let (m, n) = (job.terms[0].0.rows, job.terms[0].1.cols);
        let source = |p: &Part| pack::source(&job.terms[p.term].0, n.div_ceil(COLS));
        let sources: Vec<_> = parts.iter().map(source).collect();
        let columns = job.terms.iter().all(|(_, b)| b.col_stride == 1);
        let few = m <= 2 * ROWS && !job.flipped && !sources.contains(&Source::Whole);
        let in_place = columns && few;
        let tile_rows = m.div_ceil(m.div_ceil(ROWS));
        Self { job, into, parts, sources, alone, in_place, tile_rows, depth, m, n }
    }

    pub fn run(&self) {
        let copies = self.copy_rows();
        let panels = self.n.div_ceil(COLS);
        let (height, width) = self.task_size();
        let (down, across) = (self.m.div_ceil(height), panels.div_ceil(width));
        self.for_each(down * across, |task| {
            let (row, panel) = (task / across * height, task % across * width);
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

    /// Rows and panels of a task: such that all threads have some.
    fn task_size(&self) -> (usize, usize) {
        let panels = self.n.div_ceil(COLS);
        let width = (PANELS / (self.depth * COLS).max(1)).clamp(1, panels);
        let wanted = if self.alone { 1 } else { 4 * rayon::current_num_threads() };
        let (mut down, mut across) = (1, panels.div_ceil(width));
        let split = |down: usize| self.m.div_ceil(down).next_multiple_of(ROWS);
        while down * across < wanted {
            // Flipped, every task of the same rows reads the weight once more.
            if self.job.flipped && split(down) > ROWS || split(down) >= 2 * ROWS_MIN {
                down += 1;
            } else if across < panels {
                across = (2 * across).min(panels);
            } else if split(down) > ROWS {
                down += 1;
            } else {
                break;
            }
        }
        (split(down), panels.div_ceil(across))
    }

    fn copy_rows(&self) -> Vec<Aligned> {
        let tiles = self.m.div_ceil(ROWS);
        let copy = |(Part { term, steps }, source): (&Part, &Source)| {
            if *source != Source::Whole {
                return Aligned::new(0);
            }
            let size = steps.len() * LANES;
            let mut memory = Aligned::new(tiles * size);
            let all = Scattered::new(memory.all_mut());
            self.for_each(tiles.div_ceil(TILES), |task| {
                let tiles = task * TILES..tiles.min((task + 1) * TILES);
                // SAFETY: every tile is its own; the machine has AVX-512F (`suits`).
                unsafe {
                    let to = all.row(tiles.start * size, tiles.len() * size);
                    pack::whole(&self.job.terms[*term].0, steps.clone(), tiles, to);
                }
            });
            memory
        };
        self.parts.iter().zip(&self.sources).map(copy).collect()
    }

    /// The tiles of `rows` and of `panels`.
    fn compute(
        &self,
        rows: Range<usize>,
        panels: Range<usize>,
        copies: &[Aligned],
        scratch: &mut Scratch,
    ) {
        let mut segments = Vec::with_capacity(self.parts.len());
        if self.in_place {
            // Few rows: all of them for one panel after the other.
            for panel in panels {
                self.copy_panels(panel..panel + 1, scratch);
                for row in rows.clone().step_by(self.tile_rows) {
                    let count = (rows.end - row).min(self.tile_rows);
                    self.segments(row, count, copies, &mut scratch.tile, &mut segments);
                    self.point_to(&mut segments, panel, 0, scratch.panels.all());
                    self.tile(row, count, panel * COLS, &segments, Ahead::NONE);
                }
            }
            return;
        }
        self.copy_panels(panels.clone(), scratch);
        for row in rows.clone().step_by(ROWS) {
            let count = (rows.end - row).min(ROWS);
            self.segments(row, count, copies, &mut scratch.tile, &mut segments);
            for (i, panel) in panels.clone().enumerate() {
                self.point_to(&mut segments, panel, i, scratch.panels.all());
                let ahead = self.ahead(row + ROWS..rows.end, i, panels.len());
                self.tile(row, count, panel * COLS, &segments, ahead);
            }
        }
    }

    /// True if a panel of a part is read where it is.
    fn is_in_place(&self, panel: usize) -> bool {
        self.in_place && (panel + 1) * COLS <= self.n
    }

    /// Directs the segments to a panel, the copy of number `index` or itself.
    fn point_to(&self, segments: &mut [Segment], panel: usize, index: usize, copies: &[f32]) {
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

    fn copy_panels(&self, panels: Range<usize>, scratch: &mut Scratch) {
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
            // SAFETY: the machine has AVX-512F (`suits`).
            unsafe { pack::panel(&self.job.terms[*term].1, steps.clone(), panel * COLS, own) };
        }
    }

    /// What a tile reads of `count` rows of `a`.
    fn segments(
        &self,
        row: usize,
        count: usize,
        copies: &[Aligned],
        scratch: &mut Aligned,
        to: &mut Vec<Segment>,
    ) {
        scratch.reserve(self.parts.iter().map(|p| pack::tile_len(p.steps.len())).sum());
        let mut free = scratch.all_mut();
        to.clear();
        for ((part, source), whole) in self.parts.iter().zip(&self.sources).zip(copies) {
            let (view, steps) = (&self.job.terms[part.term].0, part.steps.clone());
            let depth = steps.len();
            let (a, row_stride, col_stride) = match source {
                Source::Itself => {
                    let at = row * view.row_stride + steps.start * view.col_stride;
                    (view.data[at..].as_ptr(), view.row_stride, view.col_stride)
                }
                Source::Tile => {
                    let own;
                    (own, free) = std::mem::take(&mut free).split_at_mut(pack::tile_len(depth));
                    // SAFETY: the machine has AVX-512F (`suits`).
                    unsafe { pack::tile(view, steps, row, count, own) };
                    (own.as_ptr(), 1, LANES)
                }
                Source::Whole => (whole.all()[row / ROWS * depth * LANES..].as_ptr(), 1, LANES),
            };
            to.push(Segment { a, row_stride, col_stride, b: a, b_stride: COLS, depth });
        }
    }

    /// Share `index` of `shares` of what the next tile, of the first rows of `next`, reads.
    fn ahead(&self, next: Range<usize>, index: usize, shares: usize) -> Ahead {
        let Some(part) = self.parts.first().filter(|_| !next.is_empty()) else {
            return Ahead::NONE;
        };
        let (a, steps) = (&self.job.terms[part.term].0, &part.steps);
        if a.col_stride != 1 {
            return Ahead::NONE;
        }
        let from = a.data[next.start * a.row_stride + steps.start..].as_ptr();
        Ahead::new(from, a.row_stride, steps.len(), index, shares)
    }

    fn tile(&self, row: usize, rows: usize, col: usize, segments: &[Segment], ahead: Ahead) {
        let (stride, cols) = (self.job.stride, (self.n - col).min(COLS));
        let flipped = self.job.flipped;
        // In the result.
        let (y, x, width) = if flipped { (col, row, self.m) } else { (row, col, self.n) };
        let start = match self.into {
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
                true => flip::tile(place, start, segments, ahead),
                false => tile(place, start, segments, ahead),
            }
        }
    }
}

thread_local! {
    /// As large as the largest that the thread has needed.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Copies that one task reads.
#[derive(Default)]
struct Scratch {
    /// Panel after panel, each with the steps of all parts.
    panels: Aligned,
    /// The rows of one tile.
    tile: Aligned,
}

/// Memory that starts on a cache line. What it holds is not defined until written.
#[derive(Default)]
struct Aligned(Vec<f32>);

impl Aligned {
    fn new(len: usize) -> Self {
        Self(crate::cpu::unset(if len == 0 { 0 } else { len + LANES }))
    }

    fn reserve(&mut self, len: usize) {
        if self.0.len() < len + LANES {
            *self = Self::new(len);
        }
    }

    fn start(&self) -> usize {
        self.0.as_ptr().align_offset(64).min(self.0.len())
    }

    fn all(&self) -> &[f32] {
        &self.0[self.start()..]
    }

    fn all_mut(&mut self) -> &mut [f32] {
        let start = self.start();
        &mut self.0[start..]
    }
}
