//! Matrix products through the `gemm` crate, behind a checked interface.

#![allow(unsafe_code)]

use super::Real;

/// A matrix inside a slice, with any strides (in elements).
#[derive(Clone, Copy)]
pub struct View<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> View<'a, T> {
    /// `rows` x `cols`, row-major without gaps.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// `rows` x `cols` with `row_stride` elements from row to row.
    pub fn strided(data: &'a [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        let view = Self { data, rows, cols, row_stride, col_stride: 1 };
        assert!(view.fits(), "matrix view out of bounds");
        view
    }

    /// The transpose of the same elements.
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    fn fits(&self) -> bool {
        let last = |n: usize, stride: usize| n.saturating_sub(1) * stride;
        self.rows == 0
            || self.cols == 0
            || last(self.rows, self.row_stride) + last(self.cols, self.col_stride) < self.data.len()
    }
}

/// What happens to the elements that are already there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// They are overwritten.
    Set,
    /// The product is added to them.
    Add,
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

/// `dst (= or +=) a b`, `dst` row-major with `dst_stride` elements from row to row.
///
/// # Panics
/// If the shapes do not fit each other or the slice: a fault in a kernel, not
/// in its input.
pub fn gemm<T: Real>(
    dst: &mut [T],
    dst_stride: usize,
    into: Into,
    a: View<'_, T>,
    b: View<'_, T>,
    threads: Threads,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner sizes differ");
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * dst_stride + n <= dst.len() && n <= dst_stride.max(n), "dst out of bounds");
    assert!(m == 1 || n <= dst_stride, "rows of dst overlap");
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(0),
    };
    // SAFETY: all three matrices lie inside their slices (`View::fits` and the
    // checks above), and `dst` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.as_mut_ptr(),
            1,
            dst_stride as isize,
            into == Into::Add,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn product(threads: usize, m: usize, n: usize, k: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
        let a: Vec<f32> = (0..m * k).map(value).collect();
        let b: Vec<f32> = (0..k * n).map(|i| value(i + 7)).collect();
        let mut dst = vec![0.0; m * n];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let b = View::new(&b, n, k).t();
            gemm(&mut dst, n, Into::Set, View::new(&a, m, k), b, Threads::All)
        });
        dst
    }

    /// The promise of [`Threads::All`], on shapes of every kernel of the crate.
    #[test]
    fn same_bits_for_any_number_of_threads() {
        let shapes = [
            (1, 9, 300),
            (300, 1, 40),
            (5, 700, 3),
            (197, 576, 192),
            (1182, 192, 768),
            (64, 64, 2000),
            (7, 4096, 64),
            (4096, 27, 64),
            (33, 47, 5001),
        ];
        for (m, n, k) in shapes {
            let one = product(1, m, n, k);
            for threads in [2, 3, 7, 16] {
                assert_eq!(one, product(threads, m, n, k), "{m}x{n}x{k} on {threads} threads");
            }
        }
    }
}
