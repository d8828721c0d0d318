//! Copies of operands in the order in which a tile reads them.

use super::View;
use super::tile::{COLS, LANES, ROWS, mask};
use std::arch::x86_64::*;
use std::ops::Range;

/// How the elements of a row tile of `a` lie.
#[derive(Clone, Copy)]
pub struct Rows {
    pub a: *const f32,
    pub row_stride: usize,
    pub col_stride: usize,
}

/// Elements that [`rows`] needs for `depth` steps.
pub fn rows_len(depth: usize) -> usize {
    LANES * (depth + LANES)
}

/// Columns `start..` of `b`, at most [`COLS`], as rows of [`COLS`] elements, one for
/// each step of `steps`; columns that are not there are zeros.
///
/// # Safety
/// The machine has AVX-512F; `steps.len() * COLS` elements can be written.
#[target_feature(enable = "avx512f")]
pub unsafe fn panel(b: &View<'_, f32>, steps: Range<usize>, start: usize, to: *mut f32) {
    let cols = (b.cols - start).min(COLS);
    let from = b.data.as_ptr().wrapping_add(steps.start * b.row_stride + start * b.col_stride);
    if b.row_stride == 1 {
        for half in (0..cols).step_by(LANES) {
            let (from, to) = (from.wrapping_add(half * b.col_stride), to.wrapping_add(half));
            // SAFETY: `cols - half` columns of `steps.len()` elements of `b` exist.
            unsafe { transpose(from, b.col_stride, cols - half, steps.len(), to) };
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

/// Rows `start..start + count` of `a`, for the steps of `steps`: where they are, or a
/// copy in `to` if a tile reads that faster.
///
/// # Safety
/// The machine has AVX-512F; `rows_len(steps.len())` elements of `to` can be written.
#[target_feature(enable = "avx512f")]
pub unsafe fn rows(
    a: &View<'_, f32>,
    steps: Range<usize>,
    start: usize,
    count: usize,
    to: *mut f32,
) -> Rows {
    debug_assert!(count <= ROWS);
    let from = a.data.as_ptr().wrapping_add(start * a.row_stride + steps.start * a.col_stride);
    // Rows that are 4096 bytes apart share one set of the cache, which is too small.
    if a.col_stride == 1 && !a.row_stride.is_multiple_of(1024) {
        return Rows { a: from, row_stride: a.row_stride, col_stride: 1 };
    }
    if a.col_stride == 1 {
        let row_stride = steps.len() + LANES;
        for row in 0..count {
            // SAFETY: `count` rows of `steps.len()` elements exist.
            unsafe {
                let (from, to) = (from.add(row * a.row_stride), to.add(row * row_stride));
                std::ptr::copy_nonoverlapping(from, to, steps.len());
            }
        }
        return Rows { a: to, row_stride, col_stride: 1 };
    }
    for step in 0..steps.len() {
        let (from, to) = (from.wrapping_add(step * a.col_stride), to.wrapping_add(step * LANES));
        // SAFETY: as above, `count` elements of each step.
        unsafe {
            if a.row_stride == 1 {
                _mm512_storeu_ps(to, _mm512_maskz_loadu_ps(mask(count), from));
            } else {
                for row in 0..count {
                    *to.add(row) = *from.add(row * a.row_stride);
                }
            }
        }
    }
    Rows { a: to, row_stride: 1, col_stride: LANES }
}

/// Up to 16 columns of `len` neighbours, `stride` from column to column, as rows of 16
/// that are [`COLS`] apart.
#[target_feature(enable = "avx512f")]
unsafe fn transpose(from: *const f32, stride: usize, cols: usize, len: usize, to: *mut f32) {
    for k in (0..len).step_by(LANES) {
        let steps = (len - k).min(LANES);
        let mut r = [_mm512_setzero_ps(); LANES];
        for (j, r) in r.iter_mut().enumerate().take(cols) {
            // SAFETY: masked to the elements that exist.
            *r = unsafe { _mm512_maskz_loadu_ps(mask(steps), from.wrapping_add(j * stride + k)) };
        }
        for (i, r) in square(r).into_iter().enumerate().take(steps) {
            // SAFETY: row `k + i` of `len`.
            unsafe { _mm512_storeu_ps(to.wrapping_add((k + i) * COLS), r) };
        }
    }
}

/// Transposes 16 rows of 16.
#[target_feature(enable = "avx512f")]
#[inline]
fn square(r: [__m512; LANES]) -> [__m512; LANES] {
    let z = [_mm512_setzero_ps(); LANES];
    // Pairs, then quadruples of neighbours; then the four lanes of 128 bits, twice.
    let (mut t, mut u) = (z, z);
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for i in 0..4 {
        for half in 0..2 {
            let (a, b) = (t[4 * i + half], t[4 * i + half + 2]);
            let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
            u[4 * i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            u[4 * i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    }
    // `u[4 i + c]` holds, in lane l, rows 4 i .. 4 i + 4 of column 4 l + c.
    for c in 0..4 {
        t[c] = _mm512_shuffle_f32x4::<0x88>(u[c], u[4 + c]);
        t[4 + c] = _mm512_shuffle_f32x4::<0xdd>(u[c], u[4 + c]);
        t[8 + c] = _mm512_shuffle_f32x4::<0x88>(u[8 + c], u[12 + c]);
        t[12 + c] = _mm512_shuffle_f32x4::<0xdd>(u[8 + c], u[12 + c]);
    }
    let mut out = z;
    for c in 0..4 {
        out[c] = _mm512_shuffle_f32x4::<0x88>(t[c], t[8 + c]);
        out[4 + c] = _mm512_shuffle_f32x4::<0x88>(t[4 + c], t[12 + c]);
        out[8 + c] = _mm512_shuffle_f32x4::<0xdd>(t[c], t[8 + c]);
        out[12 + c] = _mm512_shuffle_f32x4::<0xdd>(t[4 + c], t[12 + c]);
    }
    out
}
