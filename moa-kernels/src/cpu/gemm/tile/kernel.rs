//! A tile: its sums from start to end, for every number of rows and vectors.

use super::super::vector::Vector;
use super::steps::{each, steps};
use super::{Ahead, COLS, LANES, Place, Segment, Start, rows_one};

/// Takes all steps of a segment but the last few, and tells how many those are.
///
/// # Safety
/// As of [`super::tile`].
#[inline(always)] // into what has the target feature
unsafe fn long<V: Vector, const R: usize, const C: usize, const UNROLL: usize, const FOLD: bool>(
    sums: &mut [[V; C]; R],
    s: &mut Segment,
    ahead: &mut Ahead,
    strides: (usize, usize, usize),
) -> usize {
    for _ in 0..s.depth / V::STEPS {
        ahead.fetch();
        // SAFETY: the caller's.
        unsafe { steps::<V, R, C, UNROLL, FOLD>(sums, s, V::STEPS, strides) };
    }
    s.depth % V::STEPS
}

/// Where the elements of a row of `a` are neighbours: takes all steps of a segment but the last few,
/// and tells how many those are.
///
/// # Safety
/// As of [`super::tile`].
#[inline(always)] // into what has the target feature
pub unsafe fn by_rows<V: Vector, const R: usize, const C: usize>(
    sums: &mut [[V; C]; R],
    s: &mut Segment,
    ahead: &mut Ahead,
) -> usize {
    let rows = s.row_stride;
    if C > 1 {
        // Unrolled, the compiler would read all neighbours first, and the registers do not suffice.
        // SAFETY: the caller's.
        return unsafe { long::<V, R, C, 1, false>(sums, s, ahead, (rows, 1, COLS)) };
    }
    for _ in 0..s.depth / V::STEPS {
        ahead.fetch();
        // SAFETY: the caller's.
        unsafe { rows_one::steps(sums, s, V::STEPS, rows) };
    }
    s.depth % V::STEPS
}

/// A tile of `R` rows and `C` vectors, `by_rows` as [`by_rows()`].
///
/// # Safety
/// As of [`super::tile`].
#[inline(always)] // into what has the target feature
pub unsafe fn sized<V: Vector, const R: usize, const C: usize>(
    place: Place,
    start: Start,
    segments: &[Segment],
    ahead: &mut Ahead,
    by_rows: impl Fn(&mut [[V; C]; R], &mut Segment, &mut Ahead) -> usize,
) {
    let count = |j: usize| place.cols - j * V::LANES;
    let at = |i: usize, j: usize| place.c.wrapping_add(i * place.stride + j * V::LANES);
    // SAFETY (of all blocks): as promised by the caller of `tile`; loads and stores are
    // limited to the tile's columns.
    let mut sums = [[unsafe { V::zero() }; C]; R];
    let row = match start {
        Start::Row(row) | Start::Over(_, _, row) => row,
        Start::Zero | Start::There => std::ptr::null(),
    };
    let (matrix, stride) = match start {
        Start::There => (place.c.cast_const(), place.stride),
        Start::Over(matrix, stride, _) => (matrix, stride),
        Start::Zero | Start::Row(_) => (std::ptr::null(), 0),
    };
    // Loops over all rows here, not calls for each: those would not be inlined.
    each!(J < C in [0 1] {
        let along = J * V::LANES;
        if !matrix.is_null() {
            for (i, sums) in sums.iter_mut().enumerate() {
                let from = matrix.wrapping_add(i * stride + along);
                sums[J] = unsafe { V::load_first(count(J), from) };
            }
        }
        if !row.is_null() {
            let row = unsafe { V::load_first(count(J), row.wrapping_add(along)) };
            for sums in &mut sums {
                sums[J] = unsafe { sums[J].add(row) };
            }
        }
    });
    for segment in segments {
        let mut s = *segment;
        let strides = (s.row_stride, s.col_stride, s.b_stride);
        // The strides are looked at once, not in the loop over the steps.
        let left = unsafe {
            match strides {
                (_, 1, COLS) => by_rows(&mut sums, &mut s, ahead),
                (1, LANES, COLS) => {
                    long::<V, R, C, 4, true>(&mut sums, &mut s, ahead, (1, LANES, COLS))
                }
                (1, cols, cols_b) => {
                    long::<V, R, C, 1, true>(&mut sums, &mut s, ahead, (1, cols, cols_b))
                }
                _ => s.depth,
            }
        };
        unsafe { steps::<V, R, C, 1, false>(&mut sums, &mut s, left, strides) };
    }
    for (i, sums) in sums.iter().enumerate() {
        for (j, sum) in sums.iter().enumerate() {
            unsafe { sum.store_first(count(j), at(i, j)) };
        }
    }
}
