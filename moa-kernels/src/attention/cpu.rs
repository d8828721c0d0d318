//! One task per (image, head); a thread has one or two `queries` x `tokens` buffers.

#![allow(unsafe_code)]

use super::Sizes;
use super::rows::{softmax, softmax_grad, width};
use crate::cpu::gemm::Term;
use crate::cpu::{
    Into, Later, Real, Scattered, Threads, View, gemm, gemm_scattered, share_out, unset, vectorise,
};

/// The q, k or v (`part` 0, 1, 2) of one head of one image inside the fused tensor.
fn part<T: Real>(qkv: &[T], s: Sizes, image: usize, head: usize, part: usize) -> View<'_, T> {
    let row = 3 * s.dim();
    let start = image * s.tokens * row + part * s.dim() + head * s.head_dim;
    let rows = if part == 0 { s.queries } else { s.tokens };
    View::strided(&qkv[start..], rows, s.head_dim, row)
}

/// The columns of one head of one image in a `[b, queries, d]` tensor.
fn merged<T: Real>(t: &[T], s: Sizes, image: usize, head: usize) -> View<'_, T> {
    let start = image * s.queries * s.dim() + head * s.head_dim;
    View::strided(&t[start..], s.queries, s.head_dim, s.dim())
}

/// `[queries, tokens]`, each row filled up to [`width`].
struct Square<T>(Vec<T>);

impl<T: Real> Square<T> {
    fn new(s: Sizes) -> Self {
        Self(unset(s.queries * width(s.tokens)))
    }

    fn set(&mut self, s: Sizes, product: Term<'_, T>) {
        gemm(&mut self.0, width(s.tokens), Into::Set, &[product], Threads::One);
    }

    fn rows(&mut self, s: Sizes) -> impl Iterator<Item = &mut [T]> {
        self.0.chunks_exact_mut(width(s.tokens))
    }

    fn view(&self, s: Sizes) -> View<'_, T> {
        View::strided(&self.0, s.queries, s.tokens, width(s.tokens))
    }

    /// `softmax(q k^T / sqrt(head_dim))` by rows.
    fn probabilities(&mut self, q: View<'_, T>, k: View<'_, T>, s: Sizes) {
        self.set(s, (q, k.t()));
        let (tokens, scale) = (s.tokens, s.scale());
        vectorise!({
            softmax(&mut self.0, tokens, scale);
        });
    }
}

impl Sizes {
    fn scale<T: Real>(&self) -> T {
        T::from_f64(1.0 / (self.head_dim as f64).sqrt())
    }
}

/// A product to the columns of a head, from element `start` on.
///
/// # Safety
/// Every task has its own image, head and part, and with them its columns of its rows.
unsafe fn place<T: Real>(to: &Scattered<'_, T>, start: usize, stride: usize, pair: Term<'_, T>) {
    // SAFETY: the caller's.
    unsafe { gemm_scattered(&to.after(start), stride, Into::Set, &[pair], Threads::One) };
}

/// The head beside one, in the same image, which the thread most often takes next: a few elements of
/// each of many rows, which no processor foresees.
struct Next {
    image: usize,
    head: usize,
    /// Without tokens, if there is none.
    s: Sizes,
}

impl Next {
    fn new(s: Sizes, image: usize, head: usize) -> Self {
        let head = head + 1;
        let s = if head < s.heads { s } else { Sizes { tokens: 0, queries: 0, ..s } };
        Self { image, head, s }
    }

    /// Its q, k and v in a fused tensor.
    fn parts<T>(&self, tensor: usize) -> Later {
        let Sizes { tokens, head_dim, .. } = self.s;
        self.rows::<T>(tensor, 3 * tokens, head_dim)
    }

    /// Its columns in a `[b, queries, d]` tensor.
    fn columns<T>(&self, tensor: usize) -> Later {
        self.rows::<T>(tensor, self.s.queries, self.s.head_dim)
    }

    fn rows<T>(&self, tensor: usize, of_image: usize, len: usize) -> Later {
        let d = self.s.dim();
        let first = self.image * of_image * d + self.head * len;
        Later::new(tensor + first * size_of::<T>(), of_image, len, d)
    }
}

pub fn forward<T: Real>(qkv: &[T], s: Sizes) -> Vec<T> {
    let mut out = unset(s.batch * s.queries * s.dim());
    let target = Scattered::new(&mut out);
    share_out(
        s.batch * s.heads,
        || Square::new(s),
        |p, task| {
            let (image, head) = (task / s.heads, task % s.heads);
            let [q, k, v] = [0, 1, 2].map(|i| part(qkv, s, image, head, i));
            let next = Next::new(s, image, head);
            p.probabilities(q.before(next.parts::<T>(qkv.as_ptr().addr())), k, s);
            let p = p.view(s).before(next.columns::<T>(target.address(0)));
            let start = image * s.queries * s.dim() + head * s.head_dim;
            // SAFETY: as promised.
            unsafe { place(&target, start, s.dim(), (p, v)) };
        },
    );
    out
}

pub fn backward<T: Real>(qkv: &[T], grad: &[T], s: Sizes) -> Vec<T> {
    let mut dqkv = unset(qkv.len());
    let target = Scattered::new(&mut dqkv);
    let (tokens, scale, row) = (s.tokens, s.scale(), 3 * s.dim());
    share_out(
        s.batch * s.heads,
        || [Square::new(s), Square::new(s)],
        |[p, ds], task| {
            let (image, head) = (task / s.heads, task % s.heads);
            let [q, k, v] = [0, 1, 2].map(|i| part(qkv, s, image, head, i));
            let g = merged(grad, s, image, head);
            let next = Next::new(s, image, head);
            p.probabilities(q.before(next.parts::<T>(qkv.as_ptr().addr())), k, s);
            ds.set(s, (g.before(next.columns::<T>(grad.as_ptr().addr())), v.t()));
            vectorise!(for (ds, p) in ds.rows(s).zip(p.rows(s)) {
                softmax_grad(ds, p, tokens, scale);
            });
            let (p, ds, first) = (p.view(s), ds.view(s), image * tokens * row + head * s.head_dim);
            let dq = (ds.before(next.parts::<T>(target.address(0))), k);
            for (index, pair) in [dq, (ds.t(), q), (p.t(), g)].into_iter().enumerate() {
                // SAFETY: as promised.
                unsafe { place(&target, first + index * s.dim(), row, pair) };
            }
            for query in s.queries..tokens {
                // SAFETY: this task's, too. Queries that were not asked have no gradient.
                unsafe { target.row(first + query * row, s.head_dim) }.fill(T::zero());
            }
        },
    );
    dqkv
}
