//! Elementary functions for `f32` and `f64`.
//!
//! The `f32` versions are short branch-free polynomials that the compiler turns
//! into vector code; the `f64` ones are `libm`'s. Neither depends on the
//! platform's mathematics library.

#![allow(unsafe_code)]

use super::Scattered;
use super::gemm::{Into, Term, Threads};
use candle_core::WithDType;
use std::ops::Neg;

/// The element types that the CPU back ends compute in.
pub trait Real: WithDType + Neg<Output = Self> {
    /// The product of the BLAS for this type.
    #[cfg(blas)]
    const CBLAS: super::gemm::blas::Gemm<Self>;
    /// Square root.
    fn root(self) -> Self;
    /// `e^self`.
    fn exponential(self) -> Self;
    /// The error function.
    fn error_function(self) -> Self;
    /// [`super::gemm()`] by a faster way, if there is one for this type, these shapes and
    /// this machine; sizes are checked. Otherwise does nothing and returns false.
    ///
    /// # Safety
    /// Nothing else uses the elements of the result.
    unsafe fn packed_gemm(
        _dst: &Scattered<'_, Self>,
        _dst_stride: usize,
        _into: Into<'_, Self>,
        _terms: &[Term<'_, Self>],
        _threads: Threads,
    ) -> bool {
        false
    }
    /// The larger of two.
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
}

impl Real for f64 {
    #[cfg(blas)]
    const CBLAS: super::gemm::blas::Gemm<Self> = super::gemm::blas::cblas_dgemm;
    fn root(self) -> Self {
        self.sqrt()
    }
    fn exponential(self) -> Self {
        libm::exp(self)
    }
    fn error_function(self) -> Self {
        libm::erf(self)
    }
}

impl Real for f32 {
    #[cfg(blas)]
    const CBLAS: super::gemm::blas::Gemm<Self> = super::gemm::blas::cblas_sgemm;
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }

    #[cfg(target_arch = "x86_64")]
    unsafe fn packed_gemm(
        dst: &Scattered<'_, Self>,
        stride: usize,
        into: Into<'_, Self>,
        terms: &[Term<'_, Self>],
        threads: Threads,
    ) -> bool {
        // SAFETY: the caller's.
        unsafe { super::gemm::packed::run(dst, stride, into, terms, threads) }
    }

    /// Range reduction to `[-ln2/2, ln2/2]` and a degree-6 polynomial (Cephes
    /// `expf`); 0 below -87.3 and infinite above 88.7. Relative error < 2e-7.
    #[inline(always)]
    fn exponential(self) -> Self {
        const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
        let x = if self > 88.0 { 88.0 } else { self };
        let x = if x < -87.0 { -87.0 } else { x };
        let shifted = x.mul_add(std::f32::consts::LOG2_E, MAGIC);
        let n = shifted - MAGIC;
        let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, x));
        let p = r.mul_add(1.987_569_2e-4, 1.398_2e-3);
        let p = p.mul_add(r, 8.333_452e-3);
        let p = p.mul_add(r, 4.166_579_6e-2);
        let p = p.mul_add(r, 1.666_666_5e-1);
        let p = p.mul_add(r, 0.5);
        let y = (p * r).mul_add(r, r) + 1.0;
        let exponent = shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127);
        let y = y * f32::from_bits(exponent << 23);
        let y = if self < -87.0 { 0.0 } else { y };
        if self > 88.0 { f32::INFINITY } else { y }
    }

    /// `x P(x^2) / Q(x^2)` on `[-4, 4]`, 1 beyond (the rational function that
    /// XLA and Eigen use). Absolute error < 6e-7.
    #[inline(always)]
    fn error_function(self) -> Self {
        let x = if self > 4.0 { 4.0 } else { self };
        let x = if x < -4.0 { -4.0 } else { x };
        let s = x * x;
        let p = s.mul_add(-2.726_142_3e-10, 2.770_681_4e-8);
        let p = p.mul_add(s, -2.101_024e-6);
        let p = p.mul_add(s, -5.692_506_3e-5);
        let p = p.mul_add(s, -7.349_906_3e-4);
        let p = p.mul_add(s, -2.954_600_1e-3);
        let p = p.mul_add(s, -1.609_603_3e-2);
        let q = s.mul_add(-1.456_607_2e-5, -2.133_740_6e-4);
        let q = q.mul_add(s, -1.682_827e-3);
        let q = q.mul_add(s, -7.373_329_3e-3);
        let q = q.mul_add(s, -1.426_473_9e-2);
        x * p / q
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_functions_follow_f64() {
        for i in -100_000..100_000 {
            let x = i as f32 * 1e-3 * 0.869;
            let wanted = libm::exp(x as f64);
            assert!((x.exponential() as f64 - wanted).abs() <= 3e-7 * wanted, "exp {x}");
            let x = i as f32 * 1e-4;
            assert!((x.error_function() as f64 - libm::erf(x as f64)).abs() < 6e-7, "erf {x}");
        }
    }

    #[test]
    fn f32_exponential_at_the_edges() {
        assert_eq!(0f32.exponential(), 1.0);
        assert_eq!(f32::NEG_INFINITY.exponential(), 0.0);
        assert!(f32::NAN.exponential().is_nan());
        assert_eq!(200f32.exponential(), f32::INFINITY);
    }
}
