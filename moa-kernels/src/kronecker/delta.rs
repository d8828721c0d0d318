//! The delta `H = sum_i (s_i v_i) (x) (L_i R_i)` and its gradient.
//!
//! With `A_i = s_i v_i` as rows of a `t x t^2` matrix and `B_i = L_i R_i` as rows of
//! a `t x (a b)` matrix, `A^T B` holds every entry of `H`, in another order
//! (`H[p a + k, q b + l] = (A^T B)[p t + q, k b + l]`): one product instead of `t`
//! Kronecker products.

use crate::cpu::{Into, Real, Threads, View, product, unset};
use rayon::prelude::*;

/// The sizes of one layer.
pub struct Sizes {
    pub width: usize,
    pub out: usize,
    pub t: usize,
    pub ranks: Vec<usize>,
}

/// The trainable tensors of one layer inside one flat slice.
pub struct Factors<'a, T> {
    pub sizes: &'a Sizes,
    pub s: &'a [T],
    pub v: &'a [T],
    experts: Vec<(&'a [T], &'a [T])>,
    pub bias: &'a [T],
}

impl Sizes {
    pub fn a(&self) -> usize {
        self.width / self.t
    }

    pub fn b(&self) -> usize {
        self.out / self.t
    }

    /// Splits `shared.left, shared.right, {left, right of each expert}, [bias]`.
    pub fn factors<'a, T>(&'a self, theta: &'a [T]) -> Factors<'a, T> {
        let (s, rest) = theta.split_at(self.t * self.t);
        let (v, mut rest) = rest.split_at(self.t * self.t);
        let mut experts = Vec::with_capacity(self.ranks.len());
        for rank in &self.ranks {
            let (left, after) = rest.split_at(self.width * rank);
            let (right, after) = after.split_at(self.out * rank);
            experts.push((left, right));
            rest = after;
        }
        Factors { sizes: self, s, v, experts, bias: rest }
    }

    /// `H` `[in, out]` from `A` `[t, t^2]` and `B` `[t, a b]`.
    pub fn delta<T: Real>(&self, outer: &[T], inner: &[T]) -> Vec<T> {
        let (t, ab) = (self.t, self.a() * self.b());
        let (outer, inner) = (View::new(outer, t, t * t), View::new(inner, t, ab));
        let product = product(Into::Set, &[(outer.t(), inner)], Threads::All);
        let mut h = unset(product.len());
        let slabs = h.par_chunks_mut(self.slab()).zip(product.par_chunks(self.slab()));
        slabs.for_each(|(h, product)| {
            self.for_each_row(|in_product, in_h| {
                h[in_h..][..self.b()].copy_from_slice(&product[in_product..][..self.b()]);
            });
        });
        h
    }

    /// The gradients of `A` and `B` from that of `H`.
    pub fn delta_grad<T: Real>(&self, dh: &[T], outer: &[T], inner: &[T]) -> (Vec<T>, Vec<T>) {
        let (t, ab) = (self.t, self.a() * self.b());
        let mut dproduct = unset(dh.len());
        let slabs = dproduct.par_chunks_mut(self.slab()).zip(dh.par_chunks(self.slab()));
        slabs.for_each(|(dproduct, dh)| {
            self.for_each_row(|in_product, in_h| {
                dproduct[in_product..][..self.b()].copy_from_slice(&dh[in_h..][..self.b()]);
            });
        });
        let d = View::new(&dproduct, t * t, ab);
        let douter = product(Into::Set, &[(View::new(inner, t, ab), d.t())], Threads::All);
        let dinner = product(Into::Set, &[(View::new(outer, t, t * t), d)], Threads::All);
        (douter, dinner)
    }

    /// Elements of the `a` rows of `H` that belong to one `p`, which are as many
    /// neighbours in `A^T B`.
    fn slab(&self) -> usize {
        self.a() * self.out
    }

    /// Calls `f` with the places of the same `b` neighbours in `A^T B` and in `H`,
    /// within a slab.
    #[inline(always)]
    fn for_each_row(&self, mut f: impl FnMut(usize, usize)) {
        let (a, b) = (self.a(), self.b());
        for q in 0..self.t {
            for k in 0..a {
                f((q * a + k) * b, k * self.out + q * b);
            }
        }
    }
}

impl<T: Real> Factors<'_, T> {
    /// `A` `[t, t^2]`: row `i` is `s_i v_i`.
    pub fn outer(&self) -> Vec<T> {
        let t = self.sizes.t;
        let mut outer = unset(t * t * t);
        // One chunk for each element of `s`, times its row of `v`.
        for (i, (row, &s)) in outer.chunks_exact_mut(t.max(1)).zip(self.s).enumerate() {
            let v = &self.v[i / t * t..][..t];
            row.iter_mut().zip(v).for_each(|(to, &v)| *to = s * v);
        }
        outer
    }

    /// Gradients of `s` and `v` from that of `A`.
    pub fn outer_grad(&self, douter: &[T]) -> (Vec<T>, Vec<T>) {
        let t = self.sizes.t;
        let (mut ds, mut dv) = (vec![T::zero(); t * t], vec![T::zero(); t * t]);
        let rows = ds.par_chunks_mut(t).zip(dv.par_chunks_mut(t)).zip(douter.par_chunks(t * t));
        rows.enumerate().for_each(|(i, ((ds, dv), d))| {
            let span = i * t..(i + 1) * t;
            small(ds, 1, d, (t, t), (&self.v[span.clone()], 1), false);
            small(dv, 1, d, (t, t), (&self.s[span], 1), true);
        });
        (ds, dv)
    }

    /// `B` `[t, a b]` of an expert: row `i` is `L_i R_i`.
    pub fn inner(&self, expert: usize) -> Vec<T> {
        let ((left, right), rank) = (self.experts[expert], self.sizes.ranks[expert]);
        let (a, b) = (self.sizes.a(), self.sizes.b());
        let mut inner = vec![T::zero(); self.sizes.t * a * b];
        let rows = inner.chunks_mut(a * b).zip(left.chunks(a * rank).zip(right.chunks(rank * b)));
        for (inner, (left, right)) in rows {
            small(inner, b, left, (a, rank), (right, b), false);
        }
        inner
    }

    /// Gradients of `left` and `right` of an expert from that of `B`.
    pub fn inner_grad(&self, expert: usize, dinner: &[T]) -> (Vec<T>, Vec<T>) {
        let ((left, right), rank) = (self.experts[expert], self.sizes.ranks[expert]);
        let (a, b) = (self.sizes.a(), self.sizes.b());
        let (mut dleft, mut dright) = (vec![T::zero(); left.len()], vec![T::zero(); right.len()]);
        for (i, d) in dinner.chunks(a * b).enumerate() {
            let (l, r) = (i * a * rank..(i + 1) * a * rank, i * rank * b..(i + 1) * rank * b);
            let transposed: Vec<T> =
                (0..b * rank).map(|j| right[r.start + (j % rank) * b + j / rank]).collect();
            small(&mut dleft[l.clone()], rank, d, (a, b), (&transposed, rank), false);
            small(&mut dright[r], b, &left[l], (a, rank), (d, b), true);
        }
        (dleft, dright)
    }
}

/// `dst = m x` or, transposed, `m^T x`, for matrices too small for a blocked
/// product: `m` is `rows x cols`, `x` has `n` columns.
fn small<T: Real>(
    dst: &mut [T],
    n: usize,
    m: &[T],
    (rows, cols): (usize, usize),
    (x, x_cols): (&[T], usize),
    transposed: bool,
) {
    debug_assert_eq!(n, x_cols);
    for row in 0..rows {
        for col in 0..cols {
            let (to, from) = if transposed { (col, row) } else { (row, col) };
            let factor = m[row * cols + col];
            for j in 0..n {
                dst[to * n + j] += factor * x[from * n + j];
            }
        }
    }
}
