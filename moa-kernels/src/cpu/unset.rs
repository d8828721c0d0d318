//! Memory for results.

#![allow(unsafe_code)]

use super::Real;
use rayon::prelude::*;

/// `len` elements that the caller overwrites, all of them, before anything reads
/// them: clearing a large result first costs as much as filling it. Debug builds
/// fill it with NaN, which no test would miss.
#[expect(clippy::uninit_vec, reason = "that is the point; see the comment on safety")]
pub fn unset<T: Real>(len: usize) -> Vec<T> {
    if cfg!(debug_assertions) {
        return vec![T::from_f64(f64::NAN); len];
    }
    let mut memory = Vec::with_capacity(len);
    // SAFETY: the capacity is `len`; any bits are an element of `f32` and `f64`, the
    // only types that are `Real`, and the caller writes before it reads.
    unsafe { memory.set_len(len) };
    memory
}

/// Elements per task.
const CHUNK: usize = 1 << 14;

/// Zeros written by all threads.
pub fn zeros<T: Real>(len: usize) -> Vec<T> {
    let mut zeros = unset(len);
    zeros.par_chunks_mut(CHUNK).for_each(|zeros| zeros.fill(T::zero()));
    zeros
}

/// A copy made by all threads.
pub fn copied<T: Real>(from: &[T]) -> Vec<T> {
    let mut to = unset(from.len());
    let chunks = to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
    chunks.for_each(|(to, from)| to.copy_from_slice(from));
    to
}
