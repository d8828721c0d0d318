//! An expert without its delta: `x H` factor by factor.
//!
//! `H = sum_i (s_i v_i) (x) B_i` with `B_i = L_i R_i` `[a, b]` takes a token, as a matrix
//! `X` `[t, a]`, to `sum_i v_i^T (s_i X) B_i`: rows of `X` are mixed by `S`, each mixed row
//! goes through its own `B_i`, and `V^T` mixes those to the output `[t, b]`. That is a
//! fifth of the work of the frozen layer, where `H` would be as much again. Dropped
//! entries of `H` have no such form.
//!
//! Tokens stand side by side: `[t, tokens * a]` holds row `p` of every token's `X`.

use super::delta::{Factors, Sizes};
use crate::cpu::{BLOCK, Into, Real, Threads, View, gemm, product, unset};
use rayon::prelude::*;

/// Gradients of one expert.
pub struct Grads<T> {
    /// Of its tokens, before weights.
    pub x: Vec<T>,
    /// Of `S` and `V`, `[t, t]` each.
    pub shared: (Vec<T>, Vec<T>),
    /// Of `B` `[t, a b]`.
    pub inner: Vec<T>,
}

/// `x H`, `[n, out]`, for an expert's tokens `[n, in]`.
pub fn forward<T: Real>(factors: &Factors<'_, T>, inner: &[T], x: &[T]) -> Vec<T> {
    let Sizes { width, out, .. } = *factors.sizes;
    let mut y = unset(x.len() / width * out);
    let blocks = y.par_chunks_mut(BLOCK * out).zip(x.par_chunks(BLOCK * width));
    blocks.with_max_len(1).for_each(|(y, x)| {
        let (_, mixed) = middle(factors, inner, &side_by_side(x, width, factors.sizes.a()));
        let (t, b) = (factors.sizes.t, factors.sizes.b());
        let terms = [(square(factors.v, t).t(), wide(&mixed, t))];
        one_by_one(&product(Into::Set, &terms, Threads::One), y, out, b);
    });
    y
}

/// The gradients from that of the output, `dy` `[n, out]`; `weighted` are the tokens
/// times the weight of their output.
pub fn backward<T: Real>(
    factors: &Factors<'_, T>,
    inner: &[T],
    weighted: &[T],
    dy: &[T],
) -> Grads<T> {
    let Sizes { width, out, t, .. } = *factors.sizes;
    let mut dx = unset(weighted.len());
    let blocks = dx.par_chunks_mut(BLOCK * width);
    let blocks = blocks.zip(weighted.par_chunks(BLOCK * width)).zip(dy.par_chunks(BLOCK * out));
    // Collected in order, so that the sums do not depend on the number of threads.
    let sums: Vec<[Vec<T>; 3]> = blocks
        .with_max_len(1)
        .map(|((dx, x), dy)| block_grads(factors, inner, x, dy, dx))
        .collect();
    let mut total = [vec![T::zero(); t * t], vec![T::zero(); t * t], vec![T::zero(); inner.len()]];
    for block in &sums {
        for (total, block) in total.iter_mut().zip(block) {
            total.iter_mut().zip(block).for_each(|(sum, &v)| *sum += v);
        }
    }
    let [ds, dv, inner] = total;
    Grads { x: dx, shared: (ds, dv), inner }
}

/// Fills the gradient of a block of tokens; returns those of `S`, `V` and `B`.
fn block_grads<T: Real>(
    factors: &Factors<'_, T>,
    inner: &[T],
    x: &[T],
    dy: &[T],
    dx: &mut [T],
) -> [Vec<T>; 3] {
    let Sizes { width, out, t, .. } = *factors.sizes;
    let (a, b, tokens) = (factors.sizes.a(), factors.sizes.b(), x.len() / width);
    let (s, v) = (square(factors.s, t), square(factors.v, t));
    let x = side_by_side(x, width, a);
    let (z, mixed) = middle(factors, inner, &x);
    let dy = side_by_side(dy, out, b);
    let dmixed = product(Into::Set, &[(v, wide(&dy, t))], Threads::One);
    let dv = product(Into::Set, &[(wide(&mixed, t), wide(&dy, t).t())], Threads::One);
    let (mut dz, mut dinner) = (unset(z.len()), unset(inner.len()));
    for i in 0..t {
        let of = |width: usize| i * tokens * width..(i + 1) * tokens * width;
        let (z, d) = (View::new(&z[of(a)], tokens, a), View::new(&dmixed[of(b)], tokens, b));
        let own = i * a * b..(i + 1) * a * b;
        let factor = View::new(&inner[own.clone()], a, b);
        gemm(&mut dz[of(a)], a, Into::Set, &[(d, factor.t())], Threads::One);
        gemm(&mut dinner[own], b, Into::Set, &[(z.t(), d)], Threads::One);
    }
    let ds = product(Into::Set, &[(wide(&dz, t), wide(&x, t).t())], Threads::One);
    let back = product(Into::Set, &[(s.t(), wide(&dz, t))], Threads::One);
    one_by_one(&back, dx, width, a);
    [ds, dv, dinner]
}

/// `S X` and, each row through its own factor, what `V` mixes.
fn middle<T: Real>(factors: &Factors<'_, T>, inner: &[T], x: &[T]) -> (Vec<T>, Vec<T>) {
    let (t, a, b) = (factors.sizes.t, factors.sizes.a(), factors.sizes.b());
    let tokens = x.len() / (t * a);
    let z = product(Into::Set, &[(square(factors.s, t), wide(x, t))], Threads::One);
    let mut mixed = unset(t * tokens * b);
    let rows = mixed.chunks_exact_mut(tokens * b).zip(z.chunks_exact(tokens * a));
    for ((mixed, z), factor) in rows.zip(inner.chunks_exact(a * b)) {
        let terms = [(View::new(z, tokens, a), View::new(factor, a, b))];
        gemm(mixed, b, Into::Set, &terms, Threads::One);
    }
    (z, mixed)
}

fn square<T>(m: &[T], t: usize) -> View<'_, T> {
    View::new(m, t, t)
}

fn wide<T>(m: &[T], t: usize) -> View<'_, T> {
    View::new(m, t, m.len() / t)
}

/// Tokens of `width` numbers, rows of `part`, side by side.
fn side_by_side<T: Real>(tokens: &[T], width: usize, part: usize) -> Vec<T> {
    let (count, mut all) = (tokens.len() / width, unset(tokens.len()));
    for (j, token) in tokens.chunks_exact(width).enumerate() {
        for (p, row) in token.chunks_exact(part).enumerate() {
            all[(p * count + j) * part..][..part].copy_from_slice(row);
        }
    }
    all
}

/// The way back.
fn one_by_one<T: Real>(all: &[T], tokens: &mut [T], width: usize, part: usize) {
    let count = tokens.len() / width;
    for (j, token) in tokens.chunks_exact_mut(width).enumerate() {
        for (p, row) in token.chunks_exact_mut(part).enumerate() {
            row.copy_from_slice(&all[(p * count + j) * part..][..part]);
        }
    }
}
