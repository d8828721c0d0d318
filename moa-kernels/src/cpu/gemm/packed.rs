//! Products from packed panels of `b` (AVX-512, `f32`).
//!
//! The inner dimension is cut into stages of about [`DEPTH`] steps. For each stage
//! `b` is copied into panels of the width of a tile; then tasks of some rows and
//! some panels compute tile after tile. `a` is read where it is, unless its rows are
//! not contiguous or lie a multiple of 4096 bytes apart.

use super::pack::{self, Rows};
use super::tile::{COLS, LANES, Place, ROWS, Segment, Start, tile};
use super::{Into, Threads, View};
use crate::cpu::Scattered;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Steps of a stage, about: a panel of this length is 128 KiB.
const DEPTH: usize = 1024;
/// A short term is added to a stage that is full already.
const MORE: usize = 64;
/// Panels of a task: 1 MiB of the second-level cache.
const PANELS: usize = 8;
/// Row tiles of a task.
const TILES: usize = 8;
/// Multiply-adds below which threads cost more than they bring.
const SMALL: usize = 1 << 17;

/// A product.
pub struct Job<'a> {
    pub dst: Scattered<'a, f32>,
    pub stride: usize,
    pub into: Into<'a, f32>,
    pub terms: &'a [(View<'a, f32>, View<'a, f32>)],
}

/// Part of one term.
struct Part {
    term: usize,
    steps: Range<usize>,
}

/// True if this is the faster way, and possible on this machine.
pub fn suits(terms: &[(View<'_, f32>, View<'_, f32>)]) -> bool {
    // With fewer rows, copying `b` costs more than it brings.
    terms[0].0.rows >= 8 && is_x86_feature_detected!("avx512f")
}

/// Computes it. The machine has AVX-512F.
pub fn run(job: &Job<'_>, threads: Threads) {
    let (m, n) = (job.terms[0].0.rows, job.terms[0].1.cols);
    let work: usize = job.terms.iter().map(|(a, _)| m * n * a.cols).sum();
    let alone = threads == Threads::One || work < SMALL || rayon::current_num_threads() == 1;
    for (i, stage) in stages(job.terms).iter().enumerate() {
        let into = if i == 0 { job.into } else { Into::Add };
        Stage::new(job, into, stage).run(alone);
    }
}

fn stages(terms: &[(View<'_, f32>, View<'_, f32>)]) -> Vec<Vec<Part>> {
    let (mut stages, mut depth) = (vec![Vec::new()], 0);
    for (term, (a, _)) in terms.iter().enumerate() {
        for from in (0..a.cols).step_by(DEPTH) {
            let steps = from..a.cols.min(from + DEPTH);
            if depth > 0 && depth + steps.len() > DEPTH + MORE {
                stages.push(Vec::new());
                depth = 0;
            }
            depth += steps.len();
            stages.last_mut().into_iter().for_each(|s| s.push(Part { term, steps: steps.clone() }));
        }
    }
    stages
}

struct Stage<'a> {
    job: &'a Job<'a>,
    into: Into<'a, f32>,
    parts: &'a [Part],
    depth: usize,
    m: usize,
    n: usize,
}

impl<'a> Stage<'a> {
    fn new(job: &'a Job<'a>, into: Into<'a, f32>, parts: &'a [Part]) -> Self {
        let depth = parts.iter().map(|p| p.steps.len()).sum();
        let (m, n) = (job.terms[0].0.rows, job.terms[0].1.cols);
        Self { job, into, parts, depth, m, n }
    }

    fn run(&self, alone: bool) {
        let panels = self.n.div_ceil(COLS);
        let mut memory = Aligned::new(panels * self.depth * COLS);
        let size = self.depth * COLS;
        let packed = Scattered::new(memory.all());
        let pack = |panel: usize| {
            // SAFETY: every panel is its own.
            let to = unsafe { packed.row(panel * size, size) };
            self.pack(panel, to.as_mut_ptr());
        };
        let (mut rows, mut cols) = (ROWS * TILES, PANELS);
        if alone {
            (0..panels).for_each(pack);
        } else {
            (0..panels).into_par_iter().for_each(pack);
            // Enough tasks for all threads, of one tile if need be.
            let wanted = 4 * rayon::current_num_threads();
            while self.m.div_ceil(rows) * panels.div_ceil(cols) < wanted && rows * cols > ROWS {
                if cols > 1 { cols /= 2 } else { rows = (rows / 2).next_multiple_of(ROWS) }
            }
        }
        let packed = memory.all().as_ptr() as usize;
        let down = self.m.div_ceil(rows);
        let task = |task: usize| {
            let (across, down) = (task / down * cols, task % down * rows);
            let (rows, cols) = (down..self.m.min(down + rows), across..panels.min(across + cols));
            self.compute(rows, cols, packed as *const f32);
        };
        let tasks = down * panels.div_ceil(cols);
        if alone {
            (0..tasks).for_each(task);
        } else {
            (0..tasks).into_par_iter().for_each(task);
        }
    }

    fn pack(&self, panel: usize, mut to: *mut f32) {
        for part in self.parts {
            let b = &self.job.terms[part.term].1;
            // SAFETY: AVX-512F is there (`suits`); `to` has `COLS` elements for each step.
            unsafe { pack::panel(b, part.steps.clone(), panel * COLS, to) };
            to = to.wrapping_add(part.steps.len() * COLS);
        }
    }

    /// The tiles of `rows` and of the panels `cols`.
    fn compute(&self, rows: Range<usize>, cols: Range<usize>, packed: *const f32) {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut segments = Vec::with_capacity(self.parts.len());
            for row in rows.clone().step_by(ROWS) {
                let count = (rows.end - row).min(ROWS);
                self.rows(row, count, scratch, &mut segments);
                for panel in cols.clone() {
                    let mut b = packed.wrapping_add(panel * self.depth * COLS);
                    for segment in &mut segments {
                        segment.b = b;
                        b = b.wrapping_add(segment.depth * COLS);
                    }
                    self.tile(row, count, panel * COLS, &segments);
                }
            }
        });
    }

    /// What a tile reads of `count` rows of `a`, copied into `scratch` if need be.
    fn rows(&self, row: usize, count: usize, scratch: &mut Aligned, to: &mut Vec<Segment>) {
        let wanted: usize = self.parts.iter().map(|p| pack::rows_len(p.steps.len())).sum();
        scratch.reserve(wanted);
        let mut free = scratch.all().as_mut_ptr();
        to.clear();
        for part in self.parts {
            let (a, depth) = (&self.job.terms[part.term].0, part.steps.len());
            // SAFETY: AVX-512F is there (`suits`); `free` has `rows_len(depth)` elements.
            let rows = unsafe { pack::rows(a, part.steps.clone(), row, count, free) };
            let Rows { a, row_stride, col_stride } = rows;
            to.push(Segment { a, row_stride, col_stride, b: a, depth });
            free = free.wrapping_add(pack::rows_len(depth));
        }
    }

    fn tile(&self, row: usize, rows: usize, col: usize, segments: &[Segment]) {
        let (stride, cols) = (self.job.stride, (self.n - col).min(COLS));
        let start = match self.into {
            Into::Set => Start::Zero,
            Into::Add => Start::There,
            Into::Rows(all) => Start::Row(all[col..].as_ptr()),
            Into::Over(matrix, all) => {
                let bias = all.map_or(std::ptr::null(), |all| all[col..].as_ptr());
                Start::Over(matrix[row * self.n + col..].as_ptr(), self.n, bias)
            }
        };
        // SAFETY: tiles do not overlap, but their rows' gaps hold other tiles: the
        // pointer is for the elements of this tile alone. It lies inside `dst` by the
        // checks of `gemm`, and so do the operands inside theirs.
        unsafe {
            let c = self.job.dst.pointer(row * stride + col);
            tile(Place { c, stride, rows, cols }, start, segments);
        }
    }
}

thread_local! {
    /// Copies of rows; as long as the longest that the thread has needed.
    static SCRATCH: RefCell<Aligned> = RefCell::new(Aligned::new(0));
}

/// Memory that starts on a cache line. What it holds is not defined until written.
struct Aligned(Vec<f32>);

impl Aligned {
    fn new(len: usize) -> Self {
        Self(crate::cpu::unset(len + LANES))
    }

    fn reserve(&mut self, len: usize) {
        if self.0.len() < len + LANES {
            *self = Self::new(len);
        }
    }

    fn all(&mut self) -> &mut [f32] {
        let start = self.0.as_ptr().align_offset(64).min(LANES);
        &mut self.0[start..]
    }
}
