//! Tiles in the registers of AVX-512.
//!
//! 14 rows of two vectors are 28 of the 32 registers; two hold the elements of `b`
//! and one that of `a`, so that each step of 28 multiply-adds needs 16 loads.

use super::kernel::{by_rows, sized};
use super::{Ahead, LANES, Place, ROWS, Segment, Start, rows_two};
use std::arch::x86_64::__m512;

/// [`super::tile`].
///
/// # Safety
/// As of that; the machine has AVX-512F.
pub unsafe fn tile(place: Place, start: Start, segments: &[Segment], ahead: &Ahead) {
    macro_rules! dispatch {
        ($($rows:literal)*) => {
            // SAFETY: the caller's.
            unsafe {
                match (place.rows, place.cols > LANES) {
                    $(($rows, false) => one::<$rows>(place, start, segments, ahead),
                      ($rows, true) => two::<$rows>(place, start, segments, ahead),)*
                    _ => unreachable!("a tile has 1 to {ROWS} rows"),
                }
            }
        };
    }
    dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

/// A tile of one vector a row.
#[target_feature(enable = "avx512f")]
unsafe fn one<const R: usize>(place: Place, start: Start, segments: &[Segment], ahead: &Ahead) {
    let rows = |sums: &mut [[__m512; 1]; R], s: &mut Segment, ahead: &mut Ahead| {
        // SAFETY: the caller's.
        unsafe { by_rows(sums, s, ahead) }
    };
    // SAFETY: the caller's.
    unsafe { sized(place, start, segments, &mut { *ahead }, rows) }
}

/// A tile of two.
#[target_feature(enable = "avx512f")]
unsafe fn two<const R: usize>(place: Place, start: Start, segments: &[Segment], ahead: &Ahead) {
    let rows = |sums: &mut [[__m512; 2]; R], s: &mut Segment, ahead: &mut Ahead| {
        // SAFETY: the caller's.
        unsafe { rows_two::steps(sums, s, ahead) }
    };
    // SAFETY: the caller's.
    unsafe { sized(place, start, segments, &mut { *ahead }, rows) }
}
