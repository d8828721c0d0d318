//! 16 rows of 16 at a time, with AVX-512.

use super::super::tile::{LANES, ROWS};
use super::super::vector::mask;
use super::Columns;
use std::arch::x86_64::*;

/// [`super::transpose`].
///
/// # Safety
/// As of that; the machine has AVX-512F.
#[target_feature(enable = "avx512f")]
pub unsafe fn transpose(columns: Columns, to: *mut f32, to_stride: usize, width: usize) {
    let Columns { from, stride, cols, len } = columns;
    // Without tests and masks inside, for the sizes of all but the last tiles.
    let whole = if width >= LANES { len / LANES * LANES } else { 0 };
    // SAFETY: the caller's.
    let done = unsafe {
        match cols {
            LANES.. => squares::<LANES>(from, stride, whole, to, to_stride),
            ROWS => squares::<ROWS>(from, stride, whole, to, to_stride),
            _ => 0,
        }
    };
    for k in (done..len).step_by(LANES) {
        let steps = (len - k).min(LANES);
        let mut r = [_mm512_setzero_ps(); LANES];
        for (j, r) in r.iter_mut().enumerate().take(cols.min(LANES)) {
            // SAFETY: masked to the elements that exist.
            *r = unsafe { _mm512_maskz_loadu_ps(mask(steps), from.wrapping_add(j * stride + k)) };
        }
        for (i, r) in square(r).into_iter().enumerate().take(steps) {
            // SAFETY: row `k + i` of `len`.
            let to = to.wrapping_add((k + i) * to_stride);
            unsafe { _mm512_mask_storeu_ps(to, mask(width), r) };
        }
    }
}

/// [`transpose`] of `N` columns of `len` neighbours, a multiple of 16; returns that.
///
/// # Safety
/// As of [`transpose`].
#[target_feature(enable = "avx512f")]
unsafe fn squares<const N: usize>(
    from: *const f32,
    stride: usize,
    len: usize,
    to: *mut f32,
    to_stride: usize,
) -> usize {
    /// All 16: what a loop would keep in memory stays in registers.
    macro_rules! all {
        ($f:ident) => {
            [
                $f(0),
                $f(1),
                $f(2),
                $f(3),
                $f(4),
                $f(5),
                $f(6),
                $f(7),
                $f(8),
                $f(9),
                $f(10),
                $f(11),
                $f(12),
                $f(13),
                $f(14),
                $f(15),
            ]
        };
    }
    for k in (0..len).step_by(LANES) {
        let load = |j: usize| match j < N {
            // SAFETY: the caller's.
            true => unsafe { _mm512_loadu_ps(from.wrapping_add(j * stride + k)) },
            false => _mm512_setzero_ps(),
        };
        let rows = square(all!(load));
        // SAFETY: as above.
        let store = |i: usize| unsafe {
            _mm512_storeu_ps(to.wrapping_add((k + i) * to_stride), rows[i]);
        };
        let _: [(); LANES] = all!(store);
    }
    len
}

/// Transposes 16 rows of 16.
#[target_feature(enable = "avx512f")]
#[inline]
fn square(r: [__m512; LANES]) -> [__m512; LANES] {
    let z = [_mm512_setzero_ps(); LANES];
    // Pairs, then quadruples of neighbours; then the four lanes of 128 bits, twice.
    let (mut t, mut u) = (z, z);
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for i in 0..4 {
        for half in 0..2 {
            let (a, b) = (t[4 * i + half], t[4 * i + half + 2]);
            let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
            u[4 * i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            u[4 * i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    }
    // `u[4 i + c]` holds, in lane l, rows 4 i .. 4 i + 4 of column 4 l + c.
    for c in 0..4 {
        t[c] = _mm512_shuffle_f32x4::<0x88>(u[c], u[4 + c]);
        t[4 + c] = _mm512_shuffle_f32x4::<0xdd>(u[c], u[4 + c]);
        t[8 + c] = _mm512_shuffle_f32x4::<0x88>(u[8 + c], u[12 + c]);
        t[12 + c] = _mm512_shuffle_f32x4::<0xdd>(u[8 + c], u[12 + c]);
    }
    let mut out = z;
    for c in 0..4 {
        out[c] = _mm512_shuffle_f32x4::<0x88>(t[c], t[8 + c]);
        out[4 + c] = _mm512_shuffle_f32x4::<0x88>(t[4 + c], t[12 + c]);
        out[8 + c] = _mm512_shuffle_f32x4::<0xdd>(t[c], t[8 + c]);
        out[12 + c] = _mm512_shuffle_f32x4::<0xdd>(t[4 + c], t[12 + c]);
    }
    out
}
