//! Transposed copies.

mod narrow;
mod wide;

use super::isa::Isa;

/// Columns of neighbours to be copied as rows.
#[derive(Clone, Copy)]
pub struct Columns {
    /// First element of the first.
    pub from: *const f32,
    /// From column to column.
    pub stride: usize,
    /// Their number; of more than 16 the first 16.
    pub cols: usize,
    /// Elements of each.
    pub len: usize,
}

/// Copies columns as rows that are `to_stride` apart; `width` elements of them, at most 16,
/// with zeros for columns that are not there.
///
/// # Safety
/// The machine has `isa`; the columns can be read, the rows written.
#[inline]
pub unsafe fn transpose(isa: Isa, columns: Columns, to: *mut f32, to_stride: usize, width: usize) {
    // SAFETY: the caller's.
    unsafe {
        match isa {
            Isa::Avx512 => wide::transpose(columns, to, to_stride, width),
            Isa::Avx2 => narrow::transpose(columns, to, to_stride, width),
        }
    }
}
