//! DropConnect: dropout on the entries of a Kronecker delta.

use crate::cpu::{Real, vectorise};
use crate::rng::Key;
use candle_core::Result;
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

/// Entries drawn by one task; a multiple of the eight that one block of words decides.
const CHUNK: usize = 8192;

/// Blocks of words drawn at once.
const SIDE_BY_SIDE: usize = 16;

/// Which entries of the deltas are kept.
#[derive(Clone, Debug)]
pub enum DropConnect {
    /// All of them.
    Off,
    /// Drawn: see [`keep_mask`].
    Seeded {
        /// Seed, purpose and step.
        key: Key,
        /// The number of the layer.
        layer: u16,
        /// Probability that an entry is removed.
        p: f64,
    },
    /// Given: one byte per entry, `[experts, in, out]`, 1 where kept.
    Given {
        /// The bytes.
        keep: Arc<Vec<u8>>,
        /// Probability that an entry was removed.
        p: f64,
    },
}

/// The share of entries kept, in 65536ths: what 16 random bits can decide.
pub(crate) fn threshold(p: f64) -> u32 {
    ((1.0 - p) * 65536.0).round() as u32
}

/// What kept entries are multiplied with: one over the share of them that 16 bits can
/// express, so that the mean stays what it is.
pub fn keep_factor(p: f64) -> f64 {
    65536.0 / f64::from(threshold(p))
}

/// One byte per entry of the delta of `expert` in `layer`, 1 where kept.
///
/// Entry `i = row * out + column` is kept if 16 random bits are below
/// `(1 - p) * 65536`: half `i % 2` (low first) of word `(i % 8) / 2` at index
/// `layer << 48 | expert << 40 | i / 8`.
pub fn keep_mask(key: Key, layer: u16, expert: u8, p: f64, entries: usize) -> Vec<u8> {
    let (base, threshold) = ((layer as u64) << 48 | (expert as u64) << 40, threshold(p));
    let mut keep = vec![0u8; entries];
    keep.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, keep)| {
        vectorise!({
            for (group, keep) in keep.chunks_mut(8 * SIDE_BY_SIDE).enumerate() {
                let first = chunk * CHUNK / 8 + group * SIDE_BY_SIDE;
                let words = key.blocks::<SIDE_BY_SIDE>(base | first as u64);
                let mut bytes = [0u64; SIDE_BY_SIDE];
                for i in 0..8 {
                    for (bytes, word) in bytes.iter_mut().zip(words[i / 2]) {
                        let kept = (word >> (16 * (i % 2)) & 0xffff) < threshold;
                        *bytes |= u64::from(kept) << (8 * i);
                    }
                }
                for (keep, bytes) in keep.chunks_mut(8).zip(bytes) {
                    keep.copy_from_slice(&bytes.to_le_bytes()[..keep.len()]);
                }
            }
        });
    });
    keep
}

impl DropConnect {
    pub(super) fn check(&self, entries: usize) -> Result<()> {
        match self {
            DropConnect::Given { keep, .. } if keep.len() != entries => {
                candle_core::bail!("drop connect: a mask of {} for {entries} entries", keep.len())
            }
            DropConnect::Given { p, .. } | DropConnect::Seeded { p, .. }
                if !(0.0..1.0).contains(p) =>
            {
                candle_core::bail!("drop connect: the probability {p} is not in [0, 1)")
            }
            _ => Ok(()),
        }
    }

    /// What to do with the `entries` of the delta of `expert`.
    pub(super) fn mask(&self, expert: usize, entries: usize) -> Mask<'_> {
        match self {
            DropConnect::Off => Mask { keep: None, factor: 1.0 },
            DropConnect::Seeded { key, layer, p } => {
                let keep = keep_mask(*key, *layer, expert as u8, *p, entries);
                Mask { keep: Some(keep.into()), factor: keep_factor(*p) }
            }
            DropConnect::Given { keep, p } => {
                let keep = &keep[expert * entries..(expert + 1) * entries];
                Mask { keep: Some(keep.into()), factor: 1.0 / (1.0 - p) }
            }
        }
    }
}

/// Which entries of one delta are kept, and by how much those are scaled.
pub(super) struct Mask<'a> {
    keep: Option<Cow<'a, [u8]>>,
    factor: f64,
}

impl Mask<'_> {
    /// Removes entries of `h`, the delta or its gradient, and scales the others.
    pub(super) fn apply<T: Real>(&self, h: &mut [T]) {
        let Some(keep) = &self.keep else { return };
        let factor = T::from_f64(self.factor);
        h.par_chunks_mut(CHUNK).zip(keep.par_chunks(CHUNK)).for_each(|(h, keep)| {
            vectorise!({
                for (h, &keep) in h.iter_mut().zip(keep) {
                    *h *= if keep != 0 { factor } else { T::zero() };
                }
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Purpose;

    #[test]
    fn keeps_the_right_share_and_every_expert_differs() {
        let key = Key::new(3, Purpose::DropConnect, 11);
        let a = keep_mask(key, 2, 0, 0.3, 100_001);
        let share = a.iter().map(|&k| k as f64).sum::<f64>() / a.len() as f64;
        assert!((share - 0.7).abs() < 0.01, "{share}");
        assert_ne!(a, keep_mask(key, 2, 1, 0.3, 100_001));
        assert_ne!(a, keep_mask(key, 3, 0, 0.3, 100_001));
        assert_eq!(a[..999], keep_mask(key, 2, 0, 0.3, 999));
    }
}
