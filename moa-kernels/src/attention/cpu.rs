//! One task per (image, head); a task needs one or two `queries` x `tokens` buffers.

#![allow(unsafe_code)]

use super::Sizes;
use crate::cpu::{Into, Real, Scattered, Threads, View, product};
use crate::cpu::{dot, lane_sum, largest, unset, vectorise};
use rayon::prelude::*;

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

/// `softmax(q k^T / sqrt(head_dim))` by rows.
fn probabilities<T: Real>(q: View<'_, T>, k: View<'_, T>, s: Sizes) -> Vec<T> {
    let mut p = product(Into::Set, &[(q, k.t())], Threads::One);
    let scale = T::from_f64(1.0 / (s.head_dim as f64).sqrt());
    vectorise!({
        for row in p.chunks_exact_mut(s.tokens) {
            let top = largest(row);
            for v in row.iter_mut() {
                *v = ((*v - top) * scale).exponential();
            }
            let inverse = T::one() / lane_sum(row, |v| v);
            for v in row.iter_mut() {
                *v *= inverse;
            }
        }
    });
    p
}

/// Copies packed rows of `width` elements to rows of a wider tensor.
fn place<T: Real>(to: &Scattered<'_, T>, start: usize, stride: usize, block: &[T], width: usize) {
    for (i, row) in block.chunks_exact(width).enumerate() {
        // SAFETY: every (image, head, part) owns its columns of its rows.
        unsafe { to.row(start + i * stride, width) }.copy_from_slice(row);
    }
}

pub fn forward<T: Real>(qkv: &[T], s: Sizes) -> Vec<T> {
    let mut out = unset(s.batch * s.queries * s.dim());
    let target = Scattered::new(&mut out);
    (0..s.batch * s.heads).into_par_iter().for_each(|task| {
        let (image, head) = (task / s.heads, task % s.heads);
        let [q, k, v] = [0, 1, 2].map(|i| part(qkv, s, image, head, i));
        let p = probabilities(q, k, s);
        let p = View::new(&p, s.queries, s.tokens);
        let block = product(Into::Set, &[(p, v)], Threads::One);
        let start = image * s.queries * s.dim() + head * s.head_dim;
        place(&target, start, s.dim(), &block, s.head_dim);
    });
    out
}

pub fn backward<T: Real>(qkv: &[T], grad: &[T], s: Sizes) -> Vec<T> {
    let mut dqkv = unset(qkv.len());
    let target = Scattered::new(&mut dqkv);
    let scale = T::from_f64(1.0 / (s.head_dim as f64).sqrt());
    (0..s.batch * s.heads).into_par_iter().for_each(|task| {
        let (image, head) = (task / s.heads, task % s.heads);
        let [q, k, v] = [0, 1, 2].map(|i| part(qkv, s, image, head, i));
        let g = merged(grad, s, image, head);
        let p = probabilities(q, k, s);
        let mut ds = product(Into::Set, &[(g, v.t())], Threads::One);
        // dS = P (dP - rowsum(dP P)) / sqrt(head_dim)
        vectorise!({
            for (ds, p) in ds.chunks_exact_mut(s.tokens).zip(p.chunks_exact(s.tokens)) {
                let sum = dot(ds, p);
                for (ds, &p) in ds.iter_mut().zip(p) {
                    *ds = p * (*ds - sum) * scale;
                }
            }
        });
        let [p, ds] = [&p, &ds].map(|t| View::new(t, s.queries, s.tokens));
        for (index, pair) in [(ds, k), (ds.t(), q), (p.t(), g)].into_iter().enumerate() {
            let mut block = product(Into::Set, &[pair], Threads::One);
            block.resize(s.tokens * s.head_dim, T::zero()); // queries not asked
            let start = image * s.tokens * 3 * s.dim() + index * s.dim() + head * s.head_dim;
            place(&target, start, 3 * s.dim(), &block, s.head_dim);
        }
    });
    dqkv
}
