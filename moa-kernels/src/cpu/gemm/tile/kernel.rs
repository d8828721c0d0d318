//! The loop over the inner dimension, for every number of rows and vectors.

use super::{Ahead, COLS, LANES, Place, ROWS, Segment, Start, mask};
use std::arch::x86_64::*;
use std::array::from_fn;

/// Steps between two fetches.
const STEPS: usize = 8; // a multiple of the steps that are unrolled
/// Steps that the elements of `b` are fetched ahead.
const NEXT: usize = 8;

/// Repeats a block for every number `N` of a list that is below a bound. A loop of this
/// length would stay one, with its sums in memory.
macro_rules! each {
    ($number:ident < $bound:ident in [$($value:literal)*] $block:block) => {$(
        if $value < $bound {
            const $number: usize = $value;
            $block
        }
    )*};
}

/// Takes `count` steps, a multiple of `UNROLL`. Where the strides are constants, what
/// is left beside multiply-adds and loads is next to nothing: the processor may share
/// its slots with somebody else.
///
/// # Safety
/// As of [`super::tile`].
#[inline(always)] // into what has the target feature
unsafe fn steps<const R: usize, const C: usize, const UNROLL: usize>(
    sums: &mut [[__m512; C]; R],
    s: &mut Segment,
    count: usize,
    (row_stride, col_stride, b_stride): (usize, usize, usize),
) {
    // Rows in threes: an address is then one of these and 0, 1 or 2 times one register,
    // which instructions compute on the way.
    let mut rows: [*const f32; ROWS.div_ceil(3)] =
        from_fn(|group| s.a.wrapping_add(3 * group * row_stride));
    let mut b = s.b;
    for _ in 0..count / UNROLL {
        each!(K < UNROLL in [0 1 2 3] {
            // SAFETY: the caller's.
            let bs: [__m512; C] = from_fn(|j| unsafe {
                _mm512_loadu_ps(b.wrapping_add(K * b_stride + j * LANES))
            });
            for j in 0..C {
                let ahead = b.wrapping_add((K + NEXT) * b_stride + j * LANES);
                // SAFETY: fetching ahead is allowed for any address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.cast()) };
            }
            each!(I < R in [0 1 2 3 4 5 6 7 8 9 10 11 12 13] {
                let a = rows[I / 3].wrapping_add(I % 3 * row_stride + K * col_stride);
                // SAFETY: the caller's.
                unsafe {
                    let a = _mm512_set1_ps(*a);
                    for (sum, &b) in sums[I].iter_mut().zip(&bs) {
                        *sum = _mm512_fmadd_ps(a, b, *sum);
                    }
                }
            });
        });
        rows = rows.map(|row| row.wrapping_add(UNROLL * col_stride));
        b = b.wrapping_add(UNROLL * b_stride);
    }
    s.a = s.a.wrapping_add(count * col_stride);
    s.b = b;
}

/// A tile of `R` rows and `C` vectors.
///
/// # Safety
/// As of [`super::tile`].
#[target_feature(enable = "avx512f")]
pub unsafe fn sized<const R: usize, const C: usize>(
    place: Place,
    start: Start,
    segments: &[Segment],
    mut ahead: Ahead,
) {
    let masks: [__mmask16; C] = from_fn(|j| mask(place.cols - j * LANES));
    let at = |i: usize, j: usize| place.c.wrapping_add(i * place.stride + j * LANES);
    // SAFETY (of all blocks): as promised by the caller of `tile`; loads and stores are
    // masked to the tile's columns.
    let mut sums: [[__m512; C]; R] = match start {
        Start::Zero => [[_mm512_setzero_ps(); C]; R],
        Start::There => {
            from_fn(|i| from_fn(|j| unsafe { _mm512_maskz_loadu_ps(masks[j], at(i, j)) }))
        }
        Start::Row(row) => {
            let load = |j| unsafe { _mm512_maskz_loadu_ps(masks[j], row.wrapping_add(j * LANES)) };
            [from_fn(load); R]
        }
        Start::Over(matrix, stride, row) => {
            let load = |from: *const f32, j: usize| unsafe {
                _mm512_maskz_loadu_ps(masks[j], from.wrapping_add(j * LANES))
            };
            let row = match row.is_null() {
                true => [_mm512_setzero_ps(); C],
                false => from_fn(|j| load(row, j)),
            };
            from_fn(|i| {
                let from = matrix.wrapping_add(i * stride);
                from_fn(|j| _mm512_add_ps(load(from, j), row[j]))
            })
        }
    };
    for segment in segments {
        let (mut s, mut left) = (*segment, segment.depth);
        while left > 0 {
            let count = left.min(STEPS);
            left -= count;
            ahead.fetch();
            let strides = (s.row_stride, s.col_stride, s.b_stride);
            unsafe {
                match strides {
                    (rows, 1, COLS) if count == STEPS => {
                        steps::<R, C, 4>(&mut sums, &mut s, STEPS, (rows, 1, COLS));
                    }
                    (1, LANES, COLS) if count == STEPS => {
                        steps::<R, C, 4>(&mut sums, &mut s, STEPS, (1, LANES, COLS));
                    }
                    _ => steps::<R, C, 1>(&mut sums, &mut s, count, strides),
                }
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (j, &sum) in sums.iter().enumerate() {
            unsafe { _mm512_mask_storeu_ps(at(i, j), masks[j], sum) };
        }
    }
}
