//! The innermost loop for two vectors of AVX-512 where the elements of a row of `a` are neighbours.
//!
//! Written out: of neighbours that are read one by one the compiler makes vectors and takes them
//! apart again, and it finds no registers for those.

use super::steps::{NEXT, each};
use super::{Ahead, COLS, LANES, ROWS, Segment};
use std::arch::asm;
use std::arch::x86_64::*;
use std::array::from_fn;

/// Steps of an iteration.
const UNROLL: usize = 8;

/// One step of the row at `$a`, or of that `$rows` strides behind it.
macro_rules! row {
    // Both instructions read the number: one less, but for all rows there would be too many loads.
    ($sums:expr, $b:expr, $step:ident, $a:expr) => {
        asm!(
            "vfmadd231ps {sum0}, {b0}, dword ptr [{a} + {step}]{{1to16}}",
            "vfmadd231ps {sum1}, {b1}, dword ptr [{a} + {step}]{{1to16}}",
            sum0 = inout(zmm_reg) $sums[0],
            sum1 = inout(zmm_reg) $sums[1],
            b0 = in(zmm_reg) $b[0],
            b1 = in(zmm_reg) $b[1],
            a = in(reg) $a,
            step = const size_of::<f32>() * $step,
            options(pure, readonly, nostack, preserves_flags)
        )
    };
    // A multiply-add that reads from an address of two registers would be two instructions.
    ($sums:expr, $b:expr, $step:ident, $a:expr, $rows:literal, $stride:expr) => {
        asm!(
            concat!("vbroadcastss {number}, dword ptr [{a} + ", $rows, " * {stride} + {step}]"),
            "vfmadd231ps {sum0}, {b0}, {number}",
            "vfmadd231ps {sum1}, {b1}, {number}",
            number = out(zmm_reg) _,
            sum0 = inout(zmm_reg) $sums[0],
            sum1 = inout(zmm_reg) $sums[1],
            b0 = in(zmm_reg) $b[0],
            b1 = in(zmm_reg) $b[1],
            a = in(reg) $a,
            stride = in(reg) $stride,
            step = const size_of::<f32>() * $step,
            options(pure, readonly, nostack, preserves_flags)
        )
    };
}

/// Takes all steps of a segment but the last few, and tells how many those are.
///
/// # Safety
/// As of [`super::tile`]; the machine has AVX-512F.
#[inline]
#[target_feature(enable = "avx512f")]
pub unsafe fn steps<const R: usize>(
    sums: &mut [[__m512; 2]; R],
    s: &mut Segment,
    ahead: &mut Ahead,
) -> usize {
    let stride = size_of::<f32>() * s.row_stride;
    // In threes, as in `steps`.
    let mut rows: [*const f32; ROWS.div_ceil(3)] =
        from_fn(|group| s.a.wrapping_add(3 * group * s.row_stride));
    let mut from = s.b;
    for _ in 0..s.depth / UNROLL {
        ahead.fetch();
        each!(K < UNROLL in [0 1 2 3 4 5 6 7] {
            let row = from.wrapping_add(K * COLS);
            // SAFETY (of all blocks): the caller's; fetching ahead is allowed for any address.
            let b: [_; 2] = from_fn(|j| unsafe { _mm512_loadu_ps(row.wrapping_add(j * LANES)) });
            for line in [0, LANES] {
                let next = row.wrapping_add(NEXT * COLS + line);
                _mm_prefetch::<_MM_HINT_T0>(next.cast());
            }
            each!(I < R in [0 1 2 3 4 5 6 7 8 9 10 11 12 13] {
                let (sums, a) = (&mut sums[I], rows[I / 3]);
                unsafe {
                    match I % 3 {
                        0 => row!(sums, b, K, a),
                        1 => row!(sums, b, K, a, 1, stride),
                        _ => row!(sums, b, K, a, 2, stride),
                    }
                }
            });
        });
        rows = rows.map(|row| row.wrapping_add(UNROLL));
        from = from.wrapping_add(UNROLL * COLS);
    }
    let left = s.depth % UNROLL;
    s.a = s.a.wrapping_add(s.depth - left);
    s.b = from;
    left
}
