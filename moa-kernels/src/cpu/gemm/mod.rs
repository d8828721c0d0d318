//! Matrix products.
//!
//! On `f32` and a machine with AVX-512 or AVX2 they are our own ([`packed`]), elsewhere
//! those of the `gemm` crate. Either way an element is one sum in the order of
//! the inner dimension, whoever computes it: the bits do not depend on the number
//! of threads. A BLAS that the program was built with replaces both.

#![allow(unsafe_code)]

#[cfg(blas)]
pub(super) mod blas;
#[cfg(target_arch = "x86_64")]
mod flip;
#[cfg(target_arch = "x86_64")]
mod isa;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
pub(super) mod packed;
#[cfg(target_arch = "x86_64")]
mod stage;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tile;
#[cfg(target_arch = "x86_64")]
mod transpose;
#[cfg(target_arch = "x86_64")]
mod vector;
mod view;

pub use view::{Later, PANEL, View, apart};

use super::{Real, Scattered};
use rayon::prelude::*;

/// One product of a sum.
pub type Term<'a, T> = (View<'a, T>, View<'a, T>);

/// What a sum of products starts from.
#[derive(Clone, Copy)]
pub enum Into<'a, T> {
    /// Nothing: what is there is overwritten.
    Set,
    /// What is there.
    Add,
    /// One row, the same for all: what is there is overwritten.
    Rows(&'a [T]),
    /// A matrix of the size of the result, without gaps, and one row if there is any:
    /// what is there is overwritten.
    Over(&'a [T], Option<&'a [T]>),
}

/// Who computes a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread alone.
    One,
    /// The rayon pool. The bits are the same: threads share rows and columns
    /// of the result, never the sum behind one element.
    All,
}

/// `dst = start + a b + c d + ...` for the pairs of `terms`, `dst` row-major with
/// `dst_stride` elements from row to row and `start` as `into` tells.
///
/// # Panics
/// If there are no terms or the shapes do not fit each other or the slice: a fault
/// in a kernel, not in its input.
pub fn gemm<T: Real>(
    dst: &mut [T],
    dst_stride: usize,
    into: Into<'_, T>,
    terms: &[Term<'_, T>],
    threads: Threads,
) {
    // SAFETY: the slice is borrowed exclusively.
    unsafe { gemm_scattered(&Scattered::new(dst), dst_stride, into, terms, threads) }
}

/// [`gemm`] to the first columns of rows that others write to as well.
///
/// # Safety
/// Nothing else reads or writes the elements of the result at the time.
///
/// # Panics
/// As [`gemm`].
pub unsafe fn gemm_scattered<T: Real>(
    dst: &Scattered<'_, T>,
    dst_stride: usize,
    into: Into<'_, T>,
    terms: &[Term<'_, T>],
    threads: Threads,
) {
    let (m, n) = (terms[0].0.rows, terms[0].1.cols);
    for (a, b) in terms {
        assert!(a.rows == m && b.cols == n && a.cols == b.rows, "sizes differ");
        assert!(!a.in_panels, "a left operand in panels");
    }
    match into {
        Into::Rows(row) | Into::Over(_, Some(row)) => assert_eq!(row.len(), n, "not one row"),
        _ => {}
    }
    if let Into::Over(matrix, _) = into {
        assert_eq!(matrix.len(), m * n, "not a matrix of this size");
    }
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * dst_stride + n <= dst.len() && n <= dst_stride.max(n), "dst out of bounds");
    assert!(m == 1 || n <= dst_stride, "rows of dst overlap");
    // SAFETY: the caller's.
    unsafe {
        if cfg!(blas) || !T::packed_gemm(dst, dst_stride, into, terms, threads) {
            general(dst, dst_stride, into, terms, threads);
        }
    }
}

/// The transpose of a matrix `[cols, rows]` as [`View::in_panels`] reads it; none if nothing here
/// does.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
pub fn transposed_in_panels(matrix: &View<'_, f32>) -> Option<Vec<f32>> {
    #[cfg(target_arch = "x86_64")]
    if !cfg!(blas) {
        return packed::in_panels(&matrix.t());
    }
    None
}

/// [`gemm`] as new memory, without gaps.
pub fn product<T: Real>(into: Into<'_, T>, terms: &[Term<'_, T>], threads: Threads) -> Vec<T> {
    let (m, n) = (terms[0].0.rows, terms[0].1.cols);
    let mut dst = match into {
        Into::Add => vec![T::zero(); m * n],
        _ => super::unset(m * n),
    };
    gemm(&mut dst, n, into, terms, threads);
    dst
}

/// Through the `gemm` crate, or a BLAS if this was built with one; sizes are checked.
///
/// # Safety
/// Nothing else uses the elements of the result.
unsafe fn general<T: Real>(
    dst: &Scattered<'_, T>,
    dst_stride: usize,
    into: Into<'_, T>,
    terms: &[Term<'_, T>],
    threads: Threads,
) {
    assert!(terms.iter().all(|(_, b)| !b.in_panels), "panels are for our own products");
    let (m, n) = (terms[0].0.rows, terms[0].1.cols);
    let each_row = |f: &(dyn Fn(usize, &mut [T]) + Sync)| {
        let rows = (0..m).into_par_iter().with_min_len(16);
        // SAFETY: rows do not overlap; nothing else uses them (caller).
        rows.for_each(|i| f(i, unsafe { dst.row(i * dst_stride, n) }));
    };
    match into {
        Into::Set | Into::Add => {}
        Into::Rows(row) => each_row(&|_, to| to.copy_from_slice(row)),
        Into::Over(matrix, row) => each_row(&|i, to| {
            to.copy_from_slice(&matrix[i * n..][..n]);
            row.into_iter().flatten().zip(to).for_each(|(&v, to)| *to += v);
        }),
    }
    // SAFETY: the result has elements; they lie inside (the checks of the caller).
    let to = unsafe { dst.pointer(0) };
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(0),
    };
    for (i, (a, b)) in terms.iter().enumerate() {
        let add = i > 0 || !matches!(into, Into::Set);
        // SAFETY: `dst` has room for the result: the checks of the caller.
        #[cfg(blas)]
        if unsafe { blas::product(to, dst_stride, &terms[i], add) } {
            continue;
        }
        // SAFETY: all three matrices lie inside their slices (`View::fits` and the
        // checks of the caller), which nothing else uses.
        unsafe {
            gemm::gemm(
                m,
                n,
                a.cols,
                to,
                1,
                dst_stride as isize,
                add,
                a.data.as_ptr(),
                a.col_stride as isize,
                a.row_stride as isize,
                b.data.as_ptr(),
                b.col_stride as isize,
                b.row_stride as isize,
                T::from_f64(1.0),
                T::from_f64(1.0),
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}
