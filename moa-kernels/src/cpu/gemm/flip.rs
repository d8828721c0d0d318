//! Tiles whose transpose is wanted.

use super::isa::Isa;
use super::tile::{self, Ahead, COLS, LANES, Place, ROWS, Segment, Start};
use super::transpose::{Columns, transpose};

/// A tile that stays in the first-level cache.
#[repr(align(64))]
struct Block([f32; ROWS * COLS]);

/// As [`tile::tile`], where `place` and `start` describe the transpose: of `cols` rows and
/// `rows` columns.
///
/// # Safety
/// As of [`tile::tile`], with those sizes for the result and the start.
pub unsafe fn tile(isa: Isa, place: Place, start: Start, segments: &[Segment], ahead: &Ahead) {
    let Place { c, stride, rows, cols } = place;
    let mut block = Block([0.0; ROWS * COLS]);
    let within = Place { c: block.0.as_mut_ptr(), stride: COLS, rows, cols };
    // SAFETY (of all blocks): the caller's; `block` has room for any tile.
    let load = |from: *const f32, from_stride: usize, to: &mut Block| {
        for half in (0..cols).step_by(LANES) {
            let from = from.wrapping_add(half * from_stride);
            let columns = Columns { from, stride: from_stride, cols: cols - half, len: rows };
            unsafe { transpose(isa, columns, to.0[half..].as_mut_ptr(), COLS, LANES) };
        }
    };
    let add = |row: *const f32, to: &mut Block| {
        for (i, to) in to.0.chunks_exact_mut(COLS).enumerate().take(rows) {
            let v = unsafe { *row.wrapping_add(i) };
            to.iter_mut().for_each(|to| *to += v);
        }
    };
    let mut from = Start::There;
    match start {
        Start::Zero => from = Start::Zero,
        Start::There => load(c, stride, &mut block),
        Start::Row(row) => add(row, &mut block),
        Start::Over(matrix, stride, row) => {
            load(matrix, stride, &mut block);
            if !row.is_null() {
                add(row, &mut block);
            }
        }
    }
    unsafe { tile::tile(isa, within, from, segments, ahead) };
    let block = block.0.as_ptr();
    for half in (0..cols).step_by(LANES) {
        let (from, to) = (block.wrapping_add(half), c.wrapping_add(half * stride));
        let columns = Columns { from, stride: COLS, cols: rows, len: (cols - half).min(LANES) };
        unsafe { transpose(isa, columns, to, stride, rows) };
    }
}
