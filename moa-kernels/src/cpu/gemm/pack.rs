//! Copies of operands in the order in which a tile reads them.

use super::View;
use super::tile::{COLS, LANES, ROWS, mask};
use super::transpose::transpose;
use std::arch::x86_64::*;
use std::ops::Range;

/// Where tiles read the rows of `a`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Where they are.
    Itself,
    /// In a copy of one tile, made by each task for itself.
    Tile,
    /// In a copy of all, made before.
    Whole,
}

/// The best source of rows for `panels` panels.
pub fn source(a: &View<'_, f32>, panels: usize) -> Source {
    match (a.row_stride, a.col_stride) {
        // A copy pays off over some panels. Without: rows that are 4096 bytes apart share one
        // set of the cache, which has too few places.
        (rows, 1) if panels <= 4 && !rows.is_multiple_of(1024) => Source::Itself,
        (_, 1) => Source::Tile,
        // Rows are contiguous.
        (1, _) if a.rows <= 2 * ROWS => Source::Itself,
        // Transposed: a step jumps, which only hurts beyond the second-level cache.
        (1, cols) if panels <= 2 && a.rows * a.cols <= 1 << 17 && !cols.is_multiple_of(256) => {
            Source::Itself
        }
        _ => Source::Whole,
    }
}

/// Elements of a copy of one tile.
pub fn tile_len(depth: usize) -> usize {
    depth * LANES
}

/// Copies rows `start..start + count` of `a`, whose rows are contiguous: [`LANES`] rows of
/// each step after the other, which is what a tile reads fastest.
///
/// # Safety
/// The machine has AVX-512F.
#[target_feature(enable = "avx512f")]
pub unsafe fn tile(
    a: &View<'_, f32>,
    steps: Range<usize>,
    start: usize,
    count: usize,
    to: &mut [f32],
) {
    assert!(to.len() >= tile_len(steps.len()) && start + count <= a.rows);
    let from = a.data.as_ptr().wrapping_add(start * a.row_stride + steps.start);
    // SAFETY: `count` rows of `steps.len()` neighbours exist; `to` is long enough.
    unsafe {
        transpose(from, a.row_stride, count, steps.len(), to.as_mut_ptr(), LANES, LANES);
    }
}

/// Copies the row tiles `tiles` of `a`; the copy of a tile holds [`LANES`] rows, of each
/// step after the other.
///
/// # Safety
/// The machine has AVX-512F.
#[target_feature(enable = "avx512f")]
pub unsafe fn whole(a: &View<'_, f32>, steps: Range<usize>, tiles: Range<usize>, to: &mut [f32]) {
    assert!(to.len() >= tiles.len() * steps.len() * LANES);
    let to = to.as_mut_ptr();
    for (i, step) in steps.clone().enumerate() {
        for (j, tile) in tiles.clone().enumerate() {
            let start = tile * ROWS;
            let count = (a.rows - start).min(ROWS);
            let to = to.wrapping_add((j * steps.len() + i) * LANES);
            let at = start * a.row_stride + step * a.col_stride;
            // SAFETY: `count` rows of this step exist; `to` as promised.
            unsafe {
                if a.row_stride == 1 {
                    let ahead = a.data.as_ptr().wrapping_add(at + 8 * a.col_stride);
                    _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                    let rows = _mm512_maskz_loadu_ps(mask(count), a.data.as_ptr().add(at));
                    _mm512_storeu_ps(to, rows);
                } else {
                    (0..count).for_each(|row| *to.add(row) = a.data[at + row * a.row_stride]);
                }
            }
        }
    }
}

/// Columns `start..` of `b`, at most [`COLS`], as rows of [`COLS`] elements, one for
/// each step of `steps`; columns that are not there are zeros.
///
/// # Safety
/// The machine has AVX-512F.
#[target_feature(enable = "avx512f")]
pub unsafe fn panel(b: &View<'_, f32>, steps: Range<usize>, start: usize, to: &mut [f32]) {
    assert!(to.len() >= steps.len() * COLS);
    let to = to.as_mut_ptr();
    let cols = (b.cols - start).min(COLS);
    let from = b.data.as_ptr().wrapping_add(steps.start * b.row_stride + start * b.col_stride);
    if b.row_stride == 1 {
        for half in (0..cols).step_by(LANES) {
            let (from, to) = (from.wrapping_add(half * b.col_stride), to.wrapping_add(half));
            // SAFETY: `cols - half` columns of `steps.len()` elements of `b` exist.
            unsafe { transpose(from, b.col_stride, cols - half, steps.len(), to, COLS, LANES) };
        }
        return;
    }
    for step in 0..steps.len() {
        let (from, to) = (from.wrapping_add(step * b.row_stride), to.wrapping_add(step * COLS));
        for half in (0..cols).step_by(LANES) {
            // SAFETY: reads the columns that exist, one element or a masked vector at a
            // time; writes inside the row of `to`.
            unsafe {
                let to = to.wrapping_add(half);
                if b.col_stride == 1 {
                    let row = _mm512_maskz_loadu_ps(mask(cols - half), from.wrapping_add(half));
                    _mm512_storeu_ps(to, row);
                } else {
                    for j in 0..LANES {
                        let there = half + j < cols;
                        let at = from.wrapping_add((half + j) * b.col_stride);
                        *to.wrapping_add(j) = if there { *at } else { 0.0 };
                    }
                }
            }
        }
    }
}
