//! Tiles in the registers of AVX-512.
//!
//! 14 rows of two vectors are 28 of the 32 registers; two hold the elements of `b`
//! and one that of `a`, so that each step of 28 multiply-adds needs 16 loads.

use super::kernel::sized;
use super::{Ahead, LANES, Place, ROWS, Segment, Start};
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
                    $(($rows, false) => of::<$rows, 1>(place, start, segments, ahead),
                      ($rows, true) => of::<$rows, 2>(place, start, segments, ahead),)*
                    _ => unreachable!("a tile has 1 to {ROWS} rows"),
                }
            }
        };
    }
    dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

#[target_feature(enable = "avx512f")]
unsafe fn of<const R: usize, const C: usize>(
    place: Place,
    start: Start,
    segments: &[Segment],
    ahead: &Ahead,
) {
    // SAFETY: the caller's.
    unsafe { sized::<__m512, R, C>(place, start, segments, &mut { *ahead }) }
}
