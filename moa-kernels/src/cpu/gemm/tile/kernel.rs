//! The loop over the inner dimension, for every number of rows and vectors.

use super::super::vector::Vector;
use super::{Ahead, COLS, LANES, Place, ROWS, Segment, Start};
use std::arch::x86_64::*;
use std::array::from_fn;

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
unsafe fn steps<V: Vector, const R: usize, const C: usize, const UNROLL: usize>(
    sums: &mut [[V; C]; R],
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
            let bs: [V; C] = from_fn(|j| unsafe {
                V::load(b.wrapping_add(K * b_stride + j * V::LANES))
            });
            for line in (0..C * V::LANES).step_by(LANES) {
                let ahead = b.wrapping_add((K + NEXT) * b_stride + line);
                // SAFETY: fetching ahead is allowed for any address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.cast()) };
            }
            each!(I < R in [0 1 2 3 4 5 6 7 8 9 10 11 12 13] {
                let a = rows[I / 3].wrapping_add(I % 3 * row_stride + K * col_stride);
                // SAFETY: the caller's.
                unsafe {
                    let a = V::splat(a);
                    for (sum, &b) in sums[I].iter_mut().zip(&bs) {
                        *sum = sum.add_product(a, b);
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

/// Takes all steps of a segment but the last few, and tells how many those are.
///
/// # Safety
/// As of [`super::tile`].
#[inline(always)] // into what has the target feature
unsafe fn long<V: Vector, const R: usize, const C: usize, const UNROLL: usize>(
    sums: &mut [[V; C]; R],
    s: &mut Segment,
    ahead: &mut Ahead,
    strides: (usize, usize, usize),
) -> usize {
    for _ in 0..s.depth / V::STEPS {
        ahead.fetch();
        // SAFETY: the caller's.
        unsafe { steps::<V, R, C, UNROLL>(sums, s, V::STEPS, strides) };
    }
    s.depth % V::STEPS
}

/// A tile of `R` rows and `C` vectors.
///
/// # Safety
/// As of [`super::tile`].
#[inline(always)] // into what has the target feature
pub unsafe fn sized<V: Vector, const R: usize, const C: usize>(
    place: Place,
    start: Start,
    segments: &[Segment],
    ahead: &mut Ahead,
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
        // The strides are looked at once, not in the loop over the steps. With two vectors a row
        // and neighbours in it unrolled, the compiler reads all of them first, and the
        // registers do not suffice.
        let left = unsafe {
            match strides {
                (rows, 1, COLS) if C == 1 => {
                    long::<V, R, C, 4>(&mut sums, &mut s, ahead, (rows, 1, COLS))
                }
                (rows, 1, COLS) => long::<V, R, C, 1>(&mut sums, &mut s, ahead, (rows, 1, COLS)),
                (1, LANES, COLS) => long::<V, R, C, 4>(&mut sums, &mut s, ahead, (1, LANES, COLS)),
                _ => s.depth,
            }
        };
        unsafe { steps::<V, R, C, 1>(&mut sums, &mut s, left, strides) };
    }
    for (i, sums) in sums.iter().enumerate() {
        for (j, sum) in sums.iter().enumerate() {
            unsafe { sum.store_first(count(j), at(i, j)) };
        }
    }
}
