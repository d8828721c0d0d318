//! Work done ahead on other threads, results in order.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Maps `jobs` through `work` on threads of its own and yields the results in
/// the order of the jobs, whatever the number of threads. No more than `ahead`
/// results per thread wait at any time.
pub struct Prefetch<T> {
    results: Option<Receiver<(usize, T)>>,
    early: BTreeMap<usize, T>,
    next: usize,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Starts `workers` threads (at least one).
    pub fn new<J: Send + 'static>(
        jobs: impl Iterator<Item = J> + Send + 'static,
        workers: usize,
        ahead: usize,
        work: impl Fn(J) -> T + Send + Sync + 'static,
    ) -> Self {
        let workers = workers.max(1);
        let (sender, results) = sync_channel(ahead.max(1));
        let jobs = Arc::new(Mutex::new(jobs.enumerate()));
        let work = Arc::new(work);
        let threads = (0..workers)
            .map(|_| {
                let (sender, jobs, work) = (sender.clone(), jobs.clone(), work.clone());
                std::thread::spawn(move || {
                    loop {
                        let job = match jobs.lock() {
                            Ok(mut jobs) => jobs.next(),
                            Err(_) => None, // another worker panicked
                        };
                        let Some((index, job)) = job else { return };
                        if sender.send((index, work(job))).is_err() {
                            return; // nobody is interested any more
                        }
                    }
                })
            })
            .collect();
        Self { results: Some(results), early: BTreeMap::new(), next: 0, threads }
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let results = self.results.as_ref()?;
        while !self.early.contains_key(&self.next) {
            let (index, result) = results.recv().ok()?;
            self.early.insert(index, result);
        }
        self.next += 1;
        self.early.remove(&(self.next - 1))
    }
}

impl<T> Drop for Prefetch<T> {
    /// Ends the threads: without a receiver their next send fails.
    fn drop(&mut self) {
        self.results = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The most worker threads that can be asked for.
pub const MAX_WORKERS: usize = 256;

/// The number of worker threads for a setting where 0 means one per core.
pub fn workers(setting: usize) -> usize {
    match setting {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        n => n,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn results_come_in_order() {
        for workers in [1, 2, 5] {
            let slow = |i: u64| {
                std::thread::sleep(Duration::from_micros(i * 7919 % 300));
                i * i
            };
            let got: Vec<u64> = Prefetch::new(0..200, workers, 3, slow).collect();
            assert_eq!(got, (0..200).map(|i| i * i).collect::<Vec<_>>());
        }
    }

    #[test]
    fn can_be_dropped_early() {
        let mut endless = Prefetch::new(0u64.., 3, 2, |i| i);
        assert_eq!(endless.next(), Some(0));
        drop(endless);
    }
}
