//! Tiles in the registers of AVX2, in parts.
//!
//! Six rows of two vectors are 12 of the 16 registers; two hold the elements of `b` and one
//! that of `a`. A part reads half of each row of a panel: one cache line.

use super::kernel::{by_rows, sized};
use super::{Ahead, LANES, Place, Segment, Start};
use std::arch::x86_64::__m256;

/// Rows of a part.
const ROWS: usize = 6;
/// Steps of a part: what it reads of `a` and of `b`, 12 KiB each, stays in the first-level
/// cache for the other parts.
const STEPS: usize = 192;

/// [`super::tile`].
///
/// # Safety
/// As of that; the machine has AVX2 and FMA.
pub unsafe fn tile(place: Place, start: Start, segments: &[Segment], ahead: &Ahead) {
    let (mut start, mut ahead) = (start, *ahead);
    for segment in segments {
        for step in (0..segment.depth).step_by(STEPS) {
            let depth = (segment.depth - step).min(STEPS);
            let a = segment.a.wrapping_add(step * segment.col_stride);
            let b = segment.b.wrapping_add(step * segment.b_stride);
            // SAFETY: the caller's.
            unsafe { stretch(place, start, &[Segment { a, b, depth, ..*segment }], &mut ahead) };
            start = Start::There;
        }
    }
    if !matches!(start, Start::There) {
        // SAFETY: the caller's.
        unsafe { stretch(place, start, &[], &mut ahead) };
    }
}

/// All parts, at most one segment.
///
/// # Safety
/// As of [`super::tile`].
unsafe fn stretch(place: Place, start: Start, segments: &[Segment], ahead: &mut Ahead) {
    let parts = place.rows.div_ceil(ROWS);
    for col in (0..place.cols).step_by(LANES) {
        for part in 0..parts {
            // Of about the same size, so that none has too few sums to keep the units busy.
            let (row, end) = (place.rows * part / parts, place.rows * (part + 1) / parts);
            let c = place.c.wrapping_add(row * place.stride + col);
            let (rows, cols) = (end - row, (place.cols - col).min(LANES));
            let place = Place { c, rows, cols, ..place };
            let segment = segments.first().map(|s| Segment {
                a: s.a.wrapping_add(row * s.row_stride),
                b: s.b.wrapping_add(col),
                ..*s
            });
            // SAFETY: the caller's, of a part of the tile.
            unsafe { sub(place, start.at(row, col), segment.as_slice(), ahead) };
        }
    }
}

/// A part.
///
/// # Safety
/// As of [`super::tile`].
unsafe fn sub(place: Place, start: Start, segments: &[Segment], ahead: &mut Ahead) {
    macro_rules! dispatch {
        ($($rows:literal)*) => {
            // SAFETY: the caller's.
            unsafe {
                match (place.rows, place.cols > LANES / 2) {
                    $(($rows, false) => of::<$rows, 1>(place, start, segments, ahead),
                      ($rows, true) => of::<$rows, 2>(place, start, segments, ahead),)*
                    _ => unreachable!("a part has 1 to {ROWS} rows"),
                }
            }
        };
    }
    dispatch!(1 2 3 4 5 6)
}

#[target_feature(enable = "avx2,fma")]
unsafe fn of<const R: usize, const C: usize>(
    place: Place,
    start: Start,
    segments: &[Segment],
    ahead: &mut Ahead,
) {
    let rows = |sums: &mut [[__m256; C]; R], s: &mut Segment, ahead: &mut Ahead| {
        // SAFETY: the caller's.
        unsafe { by_rows(sums, s, ahead) }
    };
    // SAFETY: the caller's.
    unsafe { sized(place, start, segments, ahead, rows) }
}
