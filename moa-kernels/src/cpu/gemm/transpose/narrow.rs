//! 8 rows of 8 at a time, with AVX2.

use super::super::vector::Vector;
use super::Columns;
use std::arch::x86_64::*;
use std::array::from_fn;

/// Elements of a vector.
const LANES: usize = 8;

/// [`super::transpose`].
///
/// # Safety
/// As of that; the machine has AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn transpose(columns: Columns, to: *mut f32, to_stride: usize, width: usize) {
    let Columns { from, stride, cols, len } = columns;
    for k in (0..len).step_by(LANES) {
        let steps = (len - k).min(LANES);
        for half in (0..width.min(2 * LANES)).step_by(LANES) {
            let (there, width) = (cols.saturating_sub(half), width - half);
            let from = from.wrapping_add(half * stride + k);
            let to = to.wrapping_add(k * to_stride + half);
            // SAFETY (of all blocks): limited to the elements that exist.
            let load = |j: usize| match j < there {
                true => unsafe { __m256::load_first(steps, from.wrapping_add(j * stride)) },
                false => _mm256_setzero_ps(),
            };
            let rows = square(from_fn(load));
            for (i, row) in rows.into_iter().enumerate().take(steps) {
                unsafe { row.store_first(width, to.wrapping_add(i * to_stride)) };
            }
        }
    }
}

/// Transposes 8 rows of 8.
#[target_feature(enable = "avx2")]
#[inline]
fn square(r: [__m256; LANES]) -> [__m256; LANES] {
    // Pairs, then quadruples of neighbours; then the two lanes of 128 bits.
    let t: [__m256; LANES] = from_fn(|i| match i % 2 {
        0 => _mm256_unpacklo_ps(r[i], r[i + 1]),
        _ => _mm256_unpackhi_ps(r[i - 1], r[i]),
    });
    // `u[4 q + c]` holds, in lane l, rows 4 q .. 4 q + 4 of column 4 l + c.
    let u: [__m256; LANES] = from_fn(|i| {
        let (quad, c) = (i / 4, i % 4);
        let (a, b) = (t[4 * quad + c / 2], t[4 * quad + 2 + c / 2]);
        match c % 2 {
            0 => _mm256_shuffle_ps::<0x44>(a, b),
            _ => _mm256_shuffle_ps::<0xee>(a, b),
        }
    });
    from_fn(|c| match c / 4 {
        0 => _mm256_permute2f128_ps::<0x20>(u[c], u[4 + c]),
        _ => _mm256_permute2f128_ps::<0x31>(u[c - 4], u[c]),
    })
}
