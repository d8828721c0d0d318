//! Masks for the first elements of a vector.

use std::arch::x86_64::*;

/// The first `count` elements of a vector of 16, all of them from 16 on.
#[inline(always)]
pub fn mask(count: usize) -> __mmask16 {
    if count >= 16 { !0 } else { (1 << count) - 1 }
}

/// The first `count` elements of a vector of 8, fewer than 8.
///
/// # Safety
/// The machine has AVX.
#[inline(always)]
pub unsafe fn lanes(count: usize) -> __m256i {
    const ONES_AND_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    let from = ONES_AND_ZEROS[8 - count..][..8].as_ptr();
    // SAFETY: 8 elements; the caller's.
    unsafe { _mm256_loadu_si256(from.cast()) }
}
