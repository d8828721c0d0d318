//! Products from packed panels of `b` (`f32`, x86 with AVX2 or more).
//!
//! The inner dimension is cut into stages of [`Isa::depth`] steps or more ([`super::stage`]).
//! A few rows times a large weight are computed the other way round, `(w a^T)^T`: the
//! weight is then read where it is, once, and the few rows are what is copied. One that is in panels
//! already is not copied at all.

use super::isa::Isa;
use super::pack::Source;
use super::stage::Stage;
use super::tile::{COLS, LANES};
use super::view::{PANEL, View};
use super::{Into, Term, Threads, pack};
use crate::cpu::Scattered;
use rayon::prelude::*;
use std::ops::Range;

/// A short term is added to a stage that is full already.
pub const MORE: usize = 64;
/// Multiply-adds below which threads cost more than they bring.
const SMALL: usize = 1 << 17;
/// Numbers of a matrix that is copied for any number of rows.
const SMALL_SIDE: usize = 1 << 19;
/// Rows that are few.
const FEW: usize = 256;

/// A sum of products, or if `flipped`, its transpose in `dst` and `into`.
pub struct Job<'a> {
    /// The machine has it.
    pub isa: Isa,
    pub dst: &'a Scattered<'a, f32>,
    pub stride: usize,
    pub into: Into<'a, f32>,
    pub terms: &'a [Term<'a, f32>],
    pub flipped: bool,
}

/// Part of one term.
pub struct Part {
    pub term: usize,
    pub steps: Range<usize>,
}

/// True if this is the faster way, where it is possible.
fn suits(terms: &[Term<'_, f32>]) -> bool {
    let (a, b) = &terms[0];
    // With fewer rows, copying `b` costs more than it brings. It is done for small ones, heads
    // among them: the bits of one image's logits are then those of many.
    let copied = b.col_stride != 1;
    a.rows >= 8 || !copied || b.rows * b.cols <= SMALL_SIDE || a.rows >= 4 && flips(terms)
}

fn flips(terms: &[Term<'_, f32>]) -> bool {
    let (a, b) = &terms[0];
    a.rows <= FEW && 4 * a.rows <= b.cols && b.row_stride == 1
}

/// [`super::gemm()`] of sizes that are checked, if this is the faster way and possible on
/// this machine. Otherwise does nothing and returns false.
///
/// # Safety
/// Nothing else uses the elements of the result.
pub unsafe fn run(
    dst: &Scattered<'_, f32>,
    stride: usize,
    into: Into<'_, f32>,
    terms: &[Term<'_, f32>],
    threads: Threads,
) -> bool {
    let Some(isa) = Isa::widest().filter(|_| suits(terms)) else {
        return false;
    };
    // SAFETY: the machine has it; the rest is the caller's.
    unsafe { run_with(isa, dst, stride, into, terms, threads) };
    true
}

/// [`super::gemm()`] of sizes that are checked.
///
/// # Safety
/// The machine has `isa`; nothing else uses the elements of the result.
pub unsafe fn run_with(
    isa: Isa,
    dst: &Scattered<'_, f32>,
    stride: usize,
    into: Into<'_, f32>,
    terms: &[Term<'_, f32>],
    threads: Threads,
) {
    let flipped = flips(terms);
    if flipped {
        let terms: Vec<_> = terms.iter().map(|(a, b)| (b.t(), a.t())).collect();
        run_job(&Job { isa, dst, stride, into, terms: &terms, flipped }, threads);
    } else {
        run_job(&Job { isa, dst, stride, into, terms, flipped }, threads);
    }
}

/// The elements of a matrix panel after panel.
pub fn in_panels(b: &View<'_, f32>) -> Option<Vec<f32>> {
    let isa = Isa::widest().filter(|_| b.cols.is_multiple_of(PANEL))?;
    let mut panels = crate::cpu::unset(b.rows * b.cols);
    panels.par_chunks_mut((b.rows * PANEL).max(1)).enumerate().for_each(|(i, to)| {
        // SAFETY: the machine has it.
        unsafe { pack::panels(isa, b, 0..b.rows, i..i + 1, to, b.rows * PANEL) };
    });
    Some(panels)
}

fn run_job(job: &Job<'_>, threads: Threads) {
    let (m, n) = (job.terms[0].0.rows, job.terms[0].1.cols);
    let work: usize = job.terms.iter().map(|(a, _)| m * n * a.cols).sum();
    let alone = threads == Threads::One || work < SMALL || rayon::current_num_threads() == 1;
    for (i, parts) in stages(depth(job), job.terms).iter().enumerate() {
        let into = if i == 0 { job.into } else { Into::Add };
        Stage::new(job, into, parts, alone).run();
    }
}

/// Steps of a stage, about. Long ones spare the result from being read and written again. Of a short
/// one more copies stay in a cache: those of all rows or all columns, if they are few, and more panels
/// that share the copy of a tile.
fn depth(job: &Job<'_>) -> usize {
    let (a, b) = &job.terms[0];
    let (short, panels) = (job.isa.depth(), b.cols.div_ceil(COLS));
    let fewest = (panels * COLS).min(a.rows.div_ceil(job.isa.rows()) * LANES);
    let source = |(a, _): &Term<'_, f32>| pack::source(job.isa, a, panels, false);
    let copies = job.terms.iter().any(|term| source(term) == Source::Tile);
    if copies || fewest * short <= job.isa.panels() { short } else { job.isa.long_depth() }
}

fn stages(most: usize, terms: &[Term<'_, f32>]) -> Vec<Vec<Part>> {
    let (mut stages, mut stage, mut depth) = (Vec::new(), Vec::new(), 0);
    for (term, (a, _)) in terms.iter().enumerate() {
        // Equal pieces: a short one would read and write the result for little.
        let piece = a.cols.div_ceil(a.cols.div_ceil(most).max(1)).max(1);
        for from in (0..a.cols).step_by(piece) {
            let steps = from..a.cols.min(from + piece);
            if depth > 0 && depth + steps.len() > most + MORE {
                stages.push(std::mem::take(&mut stage));
                depth = 0;
            }
            depth += steps.len();
            stage.push(Part { term, steps });
        }
    }
    stages.push(stage); // empty if there are no steps at all: the result is the start
    stages
}
