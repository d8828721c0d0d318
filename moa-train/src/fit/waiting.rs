//! How long training waits for its images.

use std::time::Instant;

/// Seconds of one process' training steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Time {
    /// From the start of a step to its end, evaluations and checkpoints left out.
    pub trained: f64,
    /// Of these, until its images were there.
    pub waited: f64,
}

impl Time {
    /// Share of the training time that was spent waiting, from 0 to 1.
    pub fn share(&self) -> f64 {
        if self.trained > 0.0 { self.waited / self.trained } else { 0.0 }
    }
}

/// Batches that are read ahead, and how long it took until each was there.
pub struct Awaited<I> {
    batches: I,
    seconds: f64,
}

impl<I> Awaited<I> {
    /// Nothing waited yet.
    pub fn new(batches: I) -> Self {
        Self { batches, seconds: 0.0 }
    }

    /// Seconds waited since the last call.
    pub fn take_seconds(&mut self) -> f64 {
        std::mem::take(&mut self.seconds)
    }
}

impl<I: Iterator> Iterator for Awaited<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let started = Instant::now();
        let batch = self.batches.next();
        self.seconds += started.elapsed().as_secs_f64();
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_slow_is_waited_for() {
        let pause = Duration::from_millis(5);
        let slow = (0..2).inspect(|_| std::thread::sleep(pause));
        let mut batches = Awaited::new(slow);
        assert_eq!(batches.by_ref().collect::<Vec<_>>(), [0, 1]);
        // A sleep may last longer, never shorter.
        assert!(batches.take_seconds() >= 2.0 * pause.as_secs_f64());
        assert_eq!(batches.take_seconds(), 0.0);
        assert_eq!(Time::default().share(), 0.0);
    }
}
