//! Sums whose order does not depend on the number of threads.

use super::{Real, vectorise};
use rayon::prelude::*;

/// Rows (tokens) per partial sum. Fixed: it decides the order of additions and
/// so the bits of every reduced gradient.
pub const BLOCK: usize = 256;
/// Numbers that are added up at a time.
const CHUNK: usize = 1 << 12;

/// Computes a vector of `width` partial sums for each block of [`BLOCK`] rows in
/// parallel, then adds them in block order.
pub fn sum_blocks<T: Real>(
    rows: usize,
    width: usize,
    partial: impl Fn(std::ops::Range<usize>, &mut [T]) + Sync,
) -> Vec<T> {
    let planes: Vec<Vec<T>> = (0..rows.div_ceil(BLOCK))
        .into_par_iter()
        .with_max_len(1)
        .map(|block| {
            let mut plane = vec![T::from_f64(0.0); width];
            let rows = block * BLOCK..rows.min((block + 1) * BLOCK);
            partial(rows, &mut plane);
            plane
        })
        .collect();
    add_up(planes, width)
}

/// The sum of vectors of length `width`, in their order.
pub fn add_up<T: Real>(planes: Vec<Vec<T>>, width: usize) -> Vec<T> {
    let mut planes = planes.into_iter();
    let mut total = planes.next().unwrap_or_else(|| vec![T::zero(); width]);
    let others = planes.as_slice();
    total.par_chunks_mut(CHUNK).enumerate().for_each(|(i, total)| {
        vectorise!(for plane in others {
            total.iter_mut().zip(&plane[i * CHUNK..]).for_each(|(t, &p)| *t += p);
        })
    });
    total
}

/// Sum over the rows of a row-major matrix with `width` columns.
pub fn column_sums<T: Real>(data: &[T], width: usize) -> Vec<T> {
    sum_blocks(data.len() / width.max(1), width, |rows, plane| {
        vectorise!({
            for row in data[rows.start * width..rows.end * width].chunks_exact(width) {
                for (p, &v) in plane.iter_mut().zip(row) {
                    *p += v;
                }
            }
        });
    })
}
