//! The innermost loop: a tile of up to [`ROWS`] x [`COLS`] sums that stay in the
//! registers of AVX-512 from start to end.
//!
//! 14 rows of two vectors are 28 of the 32 registers; two hold the elements of `b`
//! and one that of `a`, so that each step of 28 multiply-adds needs 16 loads.

mod ahead;
mod kernel;

pub use ahead::Ahead;

use kernel::sized;
use std::arch::x86_64::__mmask16;

/// Rows of a tile.
pub const ROWS: usize = 14;
/// Columns of a tile.
pub const COLS: usize = 2 * LANES;
/// Elements of a vector.
pub const LANES: usize = 16;

/// What a sum starts from.
#[derive(Clone, Copy)]
pub enum Start {
    /// Zero.
    Zero,
    /// The element that is there.
    There,
    /// The element of this row; it points to the tile's first column.
    Row(*const f32),
    /// The element of a matrix, given by the tile's first element and the stride, plus
    /// that of a row, unless null.
    Over(*const f32, usize, *const f32),
}

/// A stretch of the inner dimension.
#[derive(Clone, Copy)]
pub struct Segment {
    /// First element of the tile's first row.
    pub a: *const f32,
    /// From row to row of `a`.
    pub row_stride: usize,
    /// From step to step.
    pub col_stride: usize,
    /// Rows of [`COLS`] elements, one a step.
    pub b: *const f32,
    /// From row to row of `b`.
    pub b_stride: usize,
    /// Steps.
    pub depth: usize,
}

/// The tile's place in the result.
#[derive(Clone, Copy)]
pub struct Place {
    /// Its first element.
    pub c: *mut f32,
    /// From row to row.
    pub stride: usize,
    /// At most [`ROWS`], at least 1.
    pub rows: usize,
    /// At most [`COLS`], at least 1.
    pub cols: usize,
}

/// Computes one tile.
///
/// # Safety
/// The machine has AVX-512F. Every `rows` x `depth` of `a`, `depth` x `COLS` of `b`,
/// `rows` x `cols` of `c` and `cols` of a start row can be read, those of `c` written.
pub unsafe fn tile(place: Place, start: Start, segments: &[Segment], ahead: Ahead) {
    macro_rules! dispatch {
        ($($rows:literal)*) => {
            // SAFETY: the caller's.
            unsafe {
                match (place.rows, place.cols > LANES) {
                    $(($rows, false) => sized::<$rows, 1>(place, start, segments, ahead),
                      ($rows, true) => sized::<$rows, 2>(place, start, segments, ahead),)*
                    _ => unreachable!("a tile has 1 to {ROWS} rows"),
                }
            }
        };
    }
    dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

/// The first `count` elements of a vector, all of them from 16 on.
pub fn mask(count: usize) -> __mmask16 {
    if count >= LANES { !0 } else { (1 << count) - 1 }
}
