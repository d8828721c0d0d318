//! The innermost loop: a tile of up to [`ROWS`] x [`COLS`] sums that stay in registers from
//! start to end, all at once or one part after the other.

mod ahead;
mod kernel;
mod narrow;
mod rows_one;
mod rows_two;
mod steps;
mod wide;

pub use ahead::{Ahead, Lines};

use super::isa::Isa;
use super::view::PANEL;

/// Rows of a tile, at most.
pub const ROWS: usize = 14;
/// Columns of a tile.
pub const COLS: usize = PANEL;
/// Elements of a cache line, and of the widest vector.
pub const LANES: usize = PANEL / 2;

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

impl Start {
    /// That of a part of the tile, from a row and a column on.
    fn at(self, row: usize, col: usize) -> Self {
        let along = |from: *const f32| if from.is_null() { from } else { from.wrapping_add(col) };
        match self {
            Self::Row(from) => Self::Row(along(from)),
            Self::Over(matrix, stride, from) => {
                Self::Over(matrix.wrapping_add(row * stride + col), stride, along(from))
            }
            start => start,
        }
    }
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
/// The machine has `isa`. Every `rows` x `depth` of `a`, `depth` x `COLS` of `b`,
/// `rows` x `cols` of `c` and `cols` of a start row can be read, those of `c` written.
pub unsafe fn tile(isa: Isa, place: Place, start: Start, segments: &[Segment], ahead: &Ahead) {
    // SAFETY: the caller's.
    unsafe {
        match isa {
            Isa::Avx512 => wide::tile(place, start, segments, ahead),
            Isa::Avx2 => narrow::tile(place, start, segments, ahead),
        }
    }
}
