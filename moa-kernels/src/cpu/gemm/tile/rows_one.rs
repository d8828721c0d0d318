//! The innermost loop for one vector where the elements of a row of `a` are neighbours: four steps
//! at a time, row after row.

use super::super::vector::Vector;
use super::steps::{NEXT, each, unknown};
use super::{COLS, Segment};
use std::arch::x86_64::*;
use std::array::from_fn;

const UNROLL: usize = 4;

/// Takes `count` steps, a multiple of [`UNROLL`], for the first vector.
///
/// The address of a row is that of the one before plus the stride, in one register: an
/// address of two registers makes two instructions of a multiply-add from memory.
///
/// # Safety
/// As of [`super::tile`].
#[inline(always)] // into what has the target feature
pub unsafe fn steps<V: Vector, const R: usize, const C: usize>(
    sums: &mut [[V; C]; R],
    s: &mut Segment,
    count: usize,
    row_stride: usize,
) {
    for _ in 0..count / UNROLL {
        let b = s.b;
        // SAFETY (of all blocks): the caller's; fetching ahead is allowed for any address.
        let bs: [V; UNROLL] = from_fn(|k| unsafe { V::load(b.wrapping_add(k * COLS)) });
        for k in 0..UNROLL {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add((k + NEXT) * COLS).cast()) };
        }
        let mut row = s.a;
        each!(I < R in [0 1 2 3 4 5 6 7 8 9 10 11 12 13] {
            for (k, &b) in bs.iter().enumerate() {
                sums[I][0] = unsafe { sums[I][0].add_product(V::splat(row.wrapping_add(k)), b) };
            }
            row = unknown(row.wrapping_add(row_stride));
        });
        s.a = s.a.wrapping_add(UNROLL);
        s.b = b.wrapping_add(UNROLL * COLS);
    }
}
