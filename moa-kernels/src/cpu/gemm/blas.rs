//! Products by a CBLAS: Apple's Accelerate with the feature `accelerate` on macOS, or the
//! library that the environment variable `MOA_BLAS` named when this was built.

use super::{Term, View};
use std::ffi::c_int;

macro_rules! declare {
    ($($name:ident $float:ty),*) => {
        unsafe extern "C" {$(
            pub fn $name(
                order: c_int,
                trans_a: c_int,
                trans_b: c_int,
                m: c_int,
                n: c_int,
                k: c_int,
                alpha: $float,
                a: *const $float,
                lda: c_int,
                b: *const $float,
                ldb: c_int,
                beta: $float,
                c: *mut $float,
                ldc: c_int,
            );
        )*}
    };
}

declare!(cblas_sgemm f32, cblas_dgemm f64);

/// Either of them.
pub type Gemm<T> = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    T,
    *const T,
    c_int,
    *const T,
    c_int,
    T,
    *mut T,
    c_int,
);

const ROW_MAJOR: c_int = 101;
const PLAIN: c_int = 111;
const TRANSPOSED: c_int = 112;

/// How a matrix is read, and the distance of its rows, or columns; `None` if both are apart.
fn read<T>(v: &View<'_, T>) -> Option<(c_int, c_int)> {
    if v.col_stride == 1 {
        return Some((PLAIN, c_int::try_from(v.row_stride.max(v.cols)).ok()?));
    }
    let columns = (v.row_stride == 1).then_some(v.col_stride.max(v.rows))?;
    Some((TRANSPOSED, c_int::try_from(columns).ok()?))
}

/// `dst = a b`, or if `add`, `dst + a b`. Does nothing and returns false if the library cannot
/// read the matrices.
///
/// # Safety
/// `dst` has room for the result with `stride` elements from row to row.
pub unsafe fn product<T: super::Real>(
    dst: *mut T,
    stride: usize,
    (a, b): &Term<'_, T>,
    add: bool,
) -> bool {
    let size = |n: usize| c_int::try_from(n).ok();
    let sizes = size(a.rows).zip(size(b.cols)).zip(size(a.cols)).zip(size(stride.max(b.cols)));
    let (Some((((m, n), k), ldc)), Some((op_a, lda)), Some((op_b, ldb))) =
        (sizes, read(a), read(b))
    else {
        return false;
    };
    let (one, beta) = (T::from_f64(1.0), T::from_f64(f64::from(u8::from(add))));
    let (a, b) = (a.data.as_ptr(), b.data.as_ptr());
    // SAFETY: the operands lie inside their slices (`View::fits`); `dst` is the caller's.
    unsafe { T::CBLAS(ROW_MAJOR, op_a, op_b, m, n, k, one, a, lda, b, ldb, beta, dst, ldc) };
    true
}
