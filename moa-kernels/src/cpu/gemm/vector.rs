//! Vectors of both instruction sets, by the names that the loops use.

use std::arch::x86_64::*;

/// A vector of `f32`.
///
/// # Safety
/// Of all methods: the machine has the instruction set; what is read or written can be.
/// Inlined into what has its target feature.
pub trait Vector: Copy {
    const LANES: usize;
    /// Steps of a product between two fetches, a multiple of those that are unrolled.
    const STEPS: usize;
    /// One instruction reads a number and multiplies with it in every lane.
    const FOLDS: bool;
    /// All zeros.
    unsafe fn zero() -> Self;
    /// A number in every lane.
    unsafe fn splat(from: *const f32) -> Self;
    /// [`Self::LANES`] neighbours.
    unsafe fn load(from: *const f32) -> Self;
    /// The first `count` of them, all from [`Self::LANES`] on, and zeros.
    unsafe fn load_first(count: usize, from: *const f32) -> Self;
    /// The first `count` lanes, all from [`Self::LANES`] on.
    unsafe fn store_first(self, count: usize, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    /// `a b + self`, rounded once.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
}

/// The methods that are one instruction.
macro_rules! instructions {
    ($zero:ident $splat:ident $load:ident $add:ident $fma:ident) => {
        #[inline(always)]
        unsafe fn zero() -> Self {
            unsafe { $zero() }
        }
        #[inline(always)]
        unsafe fn splat(from: *const f32) -> Self {
            unsafe { $splat(*from) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { $load(from) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { $add(self, other) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { $fma(a, b, self) }
        }
    };
}

impl Vector for __m512 {
    const LANES: usize = 16;
    const STEPS: usize = 8;
    const FOLDS: bool = true;
    instructions!(_mm512_setzero_ps _mm512_set1_ps _mm512_loadu_ps _mm512_add_ps _mm512_fmadd_ps);

    #[inline(always)]
    unsafe fn load_first(count: usize, from: *const f32) -> Self {
        unsafe { _mm512_maskz_loadu_ps(mask(count), from) }
    }

    #[inline(always)]
    unsafe fn store_first(self, count: usize, to: *mut f32) {
        unsafe { _mm512_mask_storeu_ps(to, mask(count), self) }
    }
}

impl Vector for __m256 {
    const LANES: usize = 8;
    const STEPS: usize = 32;
    const FOLDS: bool = false;
    instructions!(_mm256_setzero_ps _mm256_set1_ps _mm256_loadu_ps _mm256_add_ps _mm256_fmadd_ps);

    #[inline(always)]
    unsafe fn load_first(count: usize, from: *const f32) -> Self {
        // Some processors take long for a mask.
        unsafe {
            match count >= Self::LANES {
                true => _mm256_loadu_ps(from),
                false => _mm256_maskload_ps(from, lanes(count)),
            }
        }
    }

    #[inline(always)]
    unsafe fn store_first(self, count: usize, to: *mut f32) {
        unsafe {
            match count >= Self::LANES {
                true => _mm256_storeu_ps(to, self),
                false => _mm256_maskstore_ps(to, lanes(count), self),
            }
        }
    }
}

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
unsafe fn lanes(count: usize) -> __m256i {
    const ONES_AND_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    let from = ONES_AND_ZEROS[8 - count..][..8].as_ptr();
    // SAFETY: 8 elements; the caller's.
    unsafe { _mm256_loadu_si256(from.cast()) }
}
