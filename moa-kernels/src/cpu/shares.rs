//! Work shared out among threads, one unit after the other.

use rayon::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Calls `f` with every number below `units` once, on all threads, each with a state of its own.
///
/// A thread starts with neighbours and takes them in their order; when it has none left, it
/// takes the latter half of what another has. So none waits for longer than one unit takes. Rayon
/// alone cuts work into pieces of a quarter each for two threads, and where cores are not of one
/// speed, by nature or because others use them, too, one of them waited in 9 % of a training step.
/// Told to cut it down to such units, it makes products take up to a tenth longer; for a few long
/// units whose results are collected that is what is done (`with_max_len(1)`).
pub fn share_out<S>(units: usize, init: impl Fn() -> S + Sync, f: impl Fn(&mut S, usize) + Sync) {
    let threads = rayon::current_num_threads().min(units);
    if threads <= 1 {
        let mut state = init();
        return (0..units).for_each(|unit| f(&mut state, unit));
    }
    let shares: Vec<_> = (0..threads).map(|i| Share::new(units, i, threads)).collect();
    (0..threads).into_par_iter().with_max_len(1).for_each(|own| {
        let mut state = None;
        while let Some(unit) = shares[own].first().or_else(|| refill(&shares, own)) {
            f(state.get_or_insert_with(&init), unit);
        }
    });
}

/// The units that a thread has left: the first in the lower half of the bits, the end in the upper.
/// On a pair of cache lines of its own, which is what processors fetch.
///
/// All that threads tell each other here is who has which unit, which is one number: no order with
/// other memory is needed. A value never comes back: its first unit, once taken, is in none.
#[repr(align(128))]
struct Share(AtomicU64);

fn pack(first: u64, end: u64) -> u64 {
    end << 32 | first
}

fn unpack(share: u64) -> (u64, u64) {
    (share & u64::from(u32::MAX), share >> 32)
}

impl Share {
    /// Share `i` of `shares`.
    fn new(units: usize, i: usize, shares: usize) -> Self {
        assert!(u32::try_from(units).is_ok(), "too many units");
        let at = |i: usize| (units as u64) * (i as u64) / shares as u64;
        Self(AtomicU64::new(pack(at(i), at(i + 1))))
    }

    fn left(&self) -> u64 {
        let (first, end) = unpack(self.0.load(Relaxed));
        end - first
    }

    /// Takes the first unit.
    fn first(&self) -> Option<usize> {
        let shorter = |share| {
            let (first, end) = unpack(share);
            (first < end).then(|| pack(first + 1, end))
        };
        self.0.fetch_update(Relaxed, Relaxed, shorter).ok().map(|share| unpack(share).0 as usize)
    }

    /// Takes the latter half.
    fn half(&self) -> Option<(u64, u64)> {
        let middle = |first, end| first + (end - first) / 2;
        let shorter = |share| {
            let (first, end) = unpack(share);
            (first < end).then(|| pack(first, middle(first, end)))
        };
        let share = self.0.fetch_update(Relaxed, Relaxed, shorter).ok()?;
        let (first, end) = unpack(share);
        Some((middle(first, end), end))
    }
}

/// Half of the largest share becomes `own`, but its first unit, which is returned.
fn refill(shares: &[Share], own: usize) -> Option<usize> {
    loop {
        let most = shares.iter().max_by_key(|share| share.left())?;
        if most.left() == 0 {
            return None;
        }
        if let Some((first, end)) = most.half() {
            shares[own].0.store(pack(first + 1, end), Relaxed);
            return Some(first as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::of as pool;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn every_unit_is_taken_once() {
        for (units, threads) in [(0, 2), (1, 2), (2, 3), (1000, 1), (100_000, 2), (5000, 16)] {
            let taken: Vec<_> = (0..units).map(|_| AtomicUsize::new(0)).collect();
            pool(threads).install(|| {
                share_out(units, || (), |(), unit| _ = taken[unit].fetch_add(1, Relaxed));
            });
            assert!(taken.iter().all(|n| n.load(Relaxed) == 1), "{units} on {threads}");
        }
    }

    /// Who is held up keeps no more than the unit it is at.
    #[test]
    fn others_do_what_a_slow_thread_has_left() {
        let (done, units) = (AtomicUsize::new(0), 40);
        pool(2).install(|| {
            share_out(
                units,
                || (),
                |(), unit| {
                    while unit == 0 && done.load(Relaxed) < units - 1 {
                        std::thread::yield_now();
                    }
                    done.fetch_add(1, Relaxed);
                },
            );
        });
        assert_eq!(done.into_inner(), units);
    }
}
