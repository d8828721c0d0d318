//! Copies of operands in the order in which a tile reads them.

use super::isa::Isa;
use super::tile::{COLS, LANES};
use super::transpose::{Columns, transpose};
use super::view::{CLASH, View};
use crate::cpu::vectorise;
use std::arch::x86_64::*;
use std::array::from_fn;
use std::ops::Range;

/// Where tiles read the rows of `a`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Where they are.
    Itself,
    /// In a copy of one tile, made by each unit for itself.
    Tile,
    /// In a copy of all, made before.
    Whole,
}

/// The best source of rows for `panels` panels, which are copied unless `in_place`.
pub fn source(isa: Isa, a: &View<'_, f32>, panels: usize, in_place: bool) -> Source {
    match (a.row_stride, a.col_stride) {
        (rows, 1) if rows.is_multiple_of(CLASH) => Source::Tile,
        // A copy pays off over some panels, unless the loop is written for rows as they are.
        (_, 1) if panels <= 4 || isa == Isa::Avx512 && !in_place => Source::Itself,
        (_, 1) => Source::Tile,
        // Rows are contiguous.
        (1, _) if a.rows <= 2 * isa.rows() => Source::Itself,
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
/// The machine has `isa`.
pub unsafe fn tile(
    isa: Isa,
    a: &View<'_, f32>,
    steps: Range<usize>,
    start: usize,
    count: usize,
    to: &mut [f32],
) {
    assert!(to.len() >= tile_len(steps.len()) && start + count <= a.rows);
    let from = a.data.as_ptr().wrapping_add(start * a.row_stride + steps.start);
    let columns = Columns { from, stride: a.row_stride, cols: count, len: steps.len() };
    // SAFETY: `count` rows of `steps.len()` neighbours exist; `to` is long enough.
    unsafe { transpose(isa, columns, to.as_mut_ptr(), LANES, LANES) };
}

/// Copies the row tiles `tiles` of `a`, of `most` rows; the copy of a tile holds [`LANES`]
/// rows, of each step after the other.
pub fn whole(
    most: usize,
    a: &View<'_, f32>,
    steps: Range<usize>,
    tiles: Range<usize>,
    to: &mut [f32],
) {
    assert!(to.len() >= tiles.len() * steps.len() * LANES);
    vectorise!(for (i, step) in steps.clone().enumerate() {
        for (j, tile) in tiles.clone().enumerate() {
            let start = tile * most;
            let count = (a.rows - start).min(most);
            let to = &mut to[(j * steps.len() + i) * LANES..][..LANES];
            let from = &a.data[start * a.row_stride + step * a.col_stride..];
            if a.row_stride != 1 {
                (0..count).for_each(|row| to[row] = from[row * a.row_stride]);
                continue;
            }
            let ahead = from.as_ptr().wrapping_add(8 * a.col_stride);
            // SAFETY: fetching ahead is allowed for any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.cast()) };
            match from.first_chunk() {
                // What is not of the tile is not read.
                Some(all) => to.copy_from_slice(all as &[f32; LANES]),
                None => to[..count].copy_from_slice(&from[..count]),
            }
        }
    })
}

/// Panels of `b`, each of [`COLS`] columns as rows of as many elements, one for each step of `steps`;
/// columns that are not there are zeros. From panel to panel it is `apart` elements.
///
/// # Safety
/// The machine has `isa`.
pub unsafe fn panels(
    isa: Isa,
    b: &View<'_, f32>,
    steps: Range<usize>,
    panels: Range<usize>,
    to: &mut [f32],
    apart: usize,
) {
    if b.col_stride == 1 && !b.in_panels {
        return rows(b, steps, panels, to, apart);
    }
    for (panel, to) in panels.zip(to.chunks_mut(apart.max(1))) {
        // SAFETY: the caller's.
        unsafe { one(isa, b, steps.clone(), panel * COLS, to) };
    }
}

/// One panel, of the columns from `start` on.
///
/// # Safety
/// The machine has `isa`.
unsafe fn one(isa: Isa, b: &View<'_, f32>, steps: Range<usize>, start: usize, to: &mut [f32]) {
    assert!(to.len() >= steps.len() * COLS);
    let cols = (b.cols - start).min(COLS);
    if b.in_panels {
        return copy(&b.data[start * b.rows + steps.start * COLS..][..steps.len() * COLS], to);
    }
    let first = steps.start * b.row_stride + start * b.col_stride;
    if b.row_stride == 1 {
        for half in (0..cols).step_by(LANES) {
            let from = b.data.as_ptr().wrapping_add(first + half * b.col_stride);
            let columns =
                Columns { from, stride: b.col_stride, cols: cols - half, len: steps.len() };
            // SAFETY: `cols - half` columns of `steps.len()` elements of `b` exist.
            unsafe { transpose(isa, columns, to[half..].as_mut_ptr(), COLS, LANES) };
        }
        return;
    }
    for (step, to) in to.as_chunks_mut::<COLS>().0.iter_mut().enumerate().take(steps.len()) {
        let from = &b.data[first + step * b.row_stride..];
        *to = from_fn(|j| if j < cols { from[j * b.col_stride] } else { 0.0 });
    }
}

/// [`panels`] of contiguous rows: these are read one after the other, as they lie in memory.
fn rows(
    b: &View<'_, f32>,
    steps: Range<usize>,
    panels: Range<usize>,
    to: &mut [f32],
    apart: usize,
) {
    let (start, end) = (panels.start * COLS, b.cols.min(panels.end * COLS));
    vectorise!(for (i, step) in steps.enumerate() {
        let row = &b.data[step * b.row_stride..][start..end];
        let (whole, rest) = row.as_chunks::<COLS>();
        for (panel, from) in whole.iter().enumerate() {
            to[panel * apart + i * COLS..][..COLS].copy_from_slice(from);
        }
        if !rest.is_empty() {
            let to = &mut to[whole.len() * apart + i * COLS..][..COLS];
            to[..rest.len()].copy_from_slice(rest);
            to[rest.len()..].fill(0.0);
        }
    })
}

/// Copies whole rows of [`COLS`] elements into this core's caches, which a copy by the processor's
/// own instruction does not.
fn copy(from: &[f32], to: &mut [f32]) {
    let rows = to.as_chunks_mut::<COLS>().0.iter_mut().zip(from.as_chunks::<COLS>().0);
    vectorise!(for (to, from) in rows {
        for half in [0, LANES] {
            let ahead = from.as_ptr().wrapping_add(16 * COLS + half);
            // SAFETY: fetching ahead is allowed for any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.cast()) };
        }
        *to = *from;
    })
}
