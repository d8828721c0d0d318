//! The innermost loop: steps of the inner dimension, for every number of rows and vectors.

use super::super::vector::Vector;
use super::{LANES, ROWS, Segment};
use std::arch::asm;
use std::arch::x86_64::*;
use std::array::from_fn;

/// Steps that the elements of `b` are fetched ahead.
pub(super) const NEXT: usize = 8;

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
pub(super) use each;

/// The same address, but the compiler does not know.
#[inline(always)]
pub(super) fn unknown(mut at: *const f32) -> *const f32 {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {} */", inout(reg) at, options(pure, readonly, nostack, preserves_flags)) };
    at
}

/// Takes `count` steps, a multiple of `UNROLL`. Where the strides are constants, what
/// is left beside multiply-adds and loads is next to nothing: the processor may share
/// its slots with somebody else.
///
/// With two vectors and `FOLD`, every other number of `a` is read once for each of them, as part
/// of the multiply-add: one instruction less. For all numbers there would be too many loads.
///
/// # Safety
/// As of [`super::tile`].
#[inline(always)] // into what has the target feature
pub unsafe fn steps<
    V: Vector,
    const R: usize,
    const C: usize,
    const UNROLL: usize,
    const FOLD: bool,
>(
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
        // From the same address the number would be read but once, and from one that is the first
        // plus a register the instruction is two again.
        let again = unknown(rows[0]);
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
                let fold = FOLD && V::FOLDS && I % 2 == 1;
                let second = again.wrapping_add(I * row_stride + K * col_stride);
                // SAFETY: the caller's.
                unsafe {
                    let first = V::splat(a);
                    let second = if fold { V::splat(second) } else { first };
                    for ((sum, &b), a) in sums[I].iter_mut().zip(&bs).zip([first, second]) {
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
