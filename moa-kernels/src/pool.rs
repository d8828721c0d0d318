//! The threads that operations on the CPU share their work among.

use rayon::ThreadPoolBuilder;

/// Runs `f` with the calling thread as one of them.
///
/// From any other thread an operation wakes one of them, waits, and is woken itself; a small
/// model's step of a thousand operations takes a few per cent longer so. Call it once around what
/// a program does. Their number is that of cores, or `RAYON_NUM_THREADS`.
pub fn as_one_of_the_pool<R>(f: impl FnOnce() -> R) -> R {
    // Only if the threads cannot be started, or this is one already: then `f` does without.
    let _pool = ThreadPoolBuilder::new().use_current_thread().build();
    f()
}

/// Some threads, for tests of work that is shared out.
#[cfg(test)]
pub(crate) fn of(threads: usize) -> rayon::ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    #[test]
    fn the_caller_works_with_the_others() {
        let sum = std::thread::spawn(|| {
            as_one_of_the_pool(|| {
                assert_eq!(rayon::current_thread_index(), Some(0));
                // A second time does no harm.
                as_one_of_the_pool(|| (0..1000u64).into_par_iter().sum::<u64>())
            })
        });
        assert_eq!(sum.join().unwrap(), 499_500);
    }
}
