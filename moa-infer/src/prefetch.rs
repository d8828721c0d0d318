//! Work done ahead on other threads, results in order.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What a job gave, or the panic that ended it.
type Done<T> = std::thread::Result<T>;

/// Maps `jobs` through `work` on threads of its own and yields the results in
/// the order of the jobs, whatever the number of threads. A panic of `work` goes
/// on where its result is due: it must not pass for the end of the jobs.
pub struct Prefetch<T> {
    results: Option<Receiver<(usize, Done<T>)>>,
    early: BTreeMap<usize, Done<T>>,
    next: usize,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Starts `workers` threads (at least one), which stop when `ahead` results wait.
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
                            Err(_) => None, // the iterator of jobs panicked
                        };
                        let Some((index, job)) = job else { return };
                        let done = catch_unwind(AssertUnwindSafe(|| work(job)));
                        if sender.send((index, done)).is_err() {
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
            let (index, done) = results.recv().ok()?;
            self.early.insert(index, done);
        }
        self.next += 1;
        match self.early.remove(&(self.next - 1))? {
            Ok(result) => Some(result),
            Err(panic) => resume_unwind(panic),
        }
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
        0 => rayon::current_num_threads(),
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
    #[should_panic(expected = "a fault")]
    fn a_panic_is_not_the_end_of_the_work() {
        let faulty = |i: u64| if i == 5 { panic!("a fault") } else { i };
        Prefetch::new(0.., 2, 3, faulty).for_each(drop);
    }

    #[test]
    fn can_be_dropped_early() {
        let mut endless = Prefetch::new(0u64.., 3, 2, |i| i);
        assert_eq!(endless.next(), Some(0));
        drop(endless);
    }
}
