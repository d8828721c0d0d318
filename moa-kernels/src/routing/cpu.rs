use super::{Gating, Routing};
use crate::cpu::{BLOCK, Real, vectorise, with_data};
use candle_core::Result;
use rayon::prelude::*;

pub struct Chosen<T> {
    pub probs: Vec<T>,
    pub indices: Vec<u32>,
    pub gates: Vec<T>,
}

/// Softmax of each row, in place: the exponentials of all at once, as rows are short.
#[inline(always)] // into what is vectorised
pub fn softmax<T: Real>(rows: &mut [T], experts: usize) {
    for row in rows.chunks_exact_mut(experts) {
        let top = row.iter().fold(row[0], |top, &v| top.larger(v));
        row.iter_mut().for_each(|v| *v -= top);
    }
    rows.iter_mut().for_each(|v| *v = v.exponential());
    for row in rows.chunks_exact_mut(experts) {
        let sum = row.iter().fold(T::zero(), |sum, &v| sum + v);
        row.iter_mut().for_each(|v| *v /= sum);
    }
}

pub fn choose<T: Real>(noisy: &[T], experts: usize, gating: Gating) -> Chosen<T> {
    let (tokens, k) = (noisy.len() / experts, gating.top_k);
    let mut probs = noisy.to_vec();
    let mut indices = vec![0u32; tokens * k];
    let mut gates = vec![T::zero(); tokens * k];
    let blocks = probs.par_chunks_mut(BLOCK * experts).zip(indices.par_chunks_mut(BLOCK * k));
    blocks.zip(gates.par_chunks_mut(BLOCK * k)).for_each(|((probs, indices), gates)| {
        vectorise!(softmax(probs, experts));
        let rows = probs.chunks(experts).zip(indices.chunks_mut(k)).zip(gates.chunks_mut(k));
        rows.for_each(|((probs, indices), gates)| best(probs, gating, indices, gates));
    });
    Chosen { probs, indices, gates }
}

/// Those of one token.
fn best<T: Real>(probs: &[T], gating: Gating, indices: &mut [u32], gates: &mut [T]) {
    for choice in 0..indices.len() {
        // The first of equals wins; a NaN row chooses in order, never out of range.
        let free = |e: &usize| !indices[..choice].contains(&(*e as u32));
        let best = (0..probs.len())
            .filter(free)
            .reduce(|best, e| if probs[e] > probs[best] { e } else { best })
            .unwrap_or(0);
        indices[choice] = best as u32;
        gates[choice] = probs[best];
    }
    if gating.renormalise {
        let sum = gates.iter().fold(T::zero(), |sum, &g| sum + g);
        gates.iter_mut().for_each(|g| *g /= sum);
    }
}

/// The gradient of the scores from `dgates` `[tokens, top_k]`: through the
/// quotient if gates are renormalised, then through the softmax.
pub fn score_grad<T: Real>(routing: &Routing, dgates: &[T]) -> Result<Vec<T>> {
    let (experts, k) = (routing.experts(), routing.gating.top_k);
    let indices = routing.indices.flatten_all()?.to_vec1::<u32>()?;
    with_data::<T, _>(&routing.probs, |probs| {
        with_data::<T, _>(&routing.gates, |gates| {
            let mut dscores = vec![T::zero(); probs.len()];
            let tokens = dscores
                .par_chunks_mut(experts)
                .zip(probs.par_chunks(experts))
                .zip(gates.par_chunks(k).zip(dgates.par_chunks(k)).zip(indices.par_chunks(k)));
            tokens.with_min_len(BLOCK).for_each(|((ds, probs), ((gates, dg), indices))| {
                let chosen = || indices.iter().map(|&e| e as usize).zip(dg.iter().zip(gates));
                // Gradient of the probabilities, zero where not chosen.
                if routing.gating.renormalise {
                    let dot = chosen().fold(T::zero(), |sum, (_, (&d, &g))| sum + d * g);
                    let sum = chosen().fold(T::zero(), |sum, (e, _)| sum + probs[e]);
                    chosen().for_each(|(e, (&d, _))| ds[e] = (d - dot) / sum);
                } else {
                    chosen().for_each(|(e, (&d, _))| ds[e] = d);
                }
                softmax_grad(ds, probs);
            });
            Ok(dscores)
        })
    })
}

/// Turns the gradient of softmax outputs `p` into that of its inputs, in place.
pub fn softmax_grad<T: Real>(dp: &mut [T], p: &[T]) {
    let dot = dp.iter().zip(p).fold(T::zero(), |sum, (&d, &p)| sum + d * p);
    for (d, &p) in dp.iter_mut().zip(p) {
        *d = p * (*d - dot);
    }
}
