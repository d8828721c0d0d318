//! The 80/20 split of every environment (DomainBed's `split_dataset`).

use super::mt19937::RandomState;
use super::seed::split_seed;

/// Errors of [`held_out_count`] and [`split_environment`].
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SplitError {
    /// The holdout fraction is not a share.
    #[error("data.holdout is {0}, but it must be a number from 0 to 1: the usual value is 0.2")]
    Fraction(f64),
}

/// The sample indices of one environment, shuffled and cut in two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The held-out part ("out"): validation, or the oracle's view of a target.
    pub out: Vec<usize>,
    /// The rest ("in"): what is trained on; of a target, what is reported.
    pub in_: Vec<usize>,
}

/// `int(n * fraction)` in Python's arithmetic: the product rounded to a double,
/// then cut off, so that 29 % of 100 samples are 28.
///
/// # Errors
/// [`SplitError::Fraction`] unless `0 <= fraction <= 1`.
pub fn held_out_count(n: usize, fraction: f64) -> Result<usize, SplitError> {
    if !(0.0..=1.0).contains(&fraction) {
        return Err(SplitError::Fraction(fraction));
    }
    Ok((n as f64 * fraction) as usize)
}

/// Shuffles `0..n` by numpy's `RandomState(seed)` and holds out the first
/// `n_out` indices (all of them if there are fewer).
pub fn split_dataset(n: usize, n_out: usize, seed: u32) -> Split {
    let mut out: Vec<usize> = (0..n).collect();
    RandomState::new(seed).shuffle(&mut out);
    let in_ = out.split_off(n_out.min(n));
    Split { out, in_ }
}

/// The split of environment `env`, which has `n` samples, in trial `trial_seed`.
///
/// DomainBed's training script splits the in-part of a target environment again
/// (for domain adaptation, 0 samples set aside) with the same seed. Its order
/// changes, its members do not.
///
/// # Errors
/// [`SplitError::Fraction`] unless `0 <= holdout <= 1`.
pub fn split_environment(
    n: usize,
    holdout: f64,
    trial_seed: u64,
    env: usize,
    target: bool,
) -> Result<Split, SplitError> {
    let seed = split_seed(trial_seed, env);
    let mut split = split_dataset(n, held_out_count(n, holdout)?, seed);
    if target {
        // shuffling the elements is shuffling their places and looking them up
        RandomState::new(seed).shuffle(&mut split.in_);
    }
    Ok(split)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ten_samples() {
        let split = split_dataset(10, 2, 894_182_419);
        assert_eq!(split.out, [2, 3]);
        assert_eq!(split.in_, [8, 1, 4, 5, 0, 9, 6, 7]);
        assert!(split_dataset(3, 9, 1).in_.is_empty());
    }

    #[test]
    fn counts_are_cut_off_as_in_python() {
        assert_eq!(held_out_count(100, 0.29), Ok(28));
        assert_eq!(held_out_count(1000, 0.58), Ok(580));
        assert_eq!(held_out_count(4, 0.2), Ok(0));
        assert_eq!(held_out_count(25, 1.0), Ok(25));
        for fraction in [-0.1, 1.5, f64::NAN] {
            assert!(held_out_count(10, fraction).is_err());
        }
    }

    #[test]
    fn a_target_is_reordered_only() {
        let source = split_environment(50, 0.2, 1, 2, false).unwrap();
        let target = split_environment(50, 0.2, 1, 2, true).unwrap();
        assert_eq!(source.out, target.out);
        assert_ne!(source.in_, target.in_);
        let sorted = |mut v: Vec<usize>| {
            v.sort_unstable();
            v
        };
        assert_eq!(sorted(source.in_), sorted(target.in_));
    }
}
