//! Passes over rows of probabilities, which are filled up to whole vectors.

use crate::cpu::{Real, total};

/// Lanes of a vector, or of some.
const LANES: usize = 16;

/// Elements from row to row for `tokens` of them, those that fill up among them.
pub fn width(tokens: usize) -> usize {
    let width = tokens.next_multiple_of(LANES);
    // Rows that are 1024 bytes apart, or a multiple, have too few places in a cache.
    if width.is_multiple_of(256) { width + LANES } else { width }
}

/// Rows that are passed over together: one waits for its largest and for its sum, some do not.
const ROWS: usize = 8;

/// `softmax(scale row)` of the first `tokens` of each row of [`width`]; the others become zeros.
#[inline(always)]
pub fn softmax<T: Real>(rows: &mut [T], tokens: usize, scale: T) {
    let width = width(tokens);
    for rows in rows.chunks_mut(ROWS * width) {
        let mut tops = [T::zero(); ROWS];
        for (top, row) in tops.iter_mut().zip(rows.chunks_exact_mut(width)) {
            row[tokens..].fill(T::from_f64(f64::NEG_INFINITY));
            let vectors = row.as_chunks::<LANES>().0;
            let mut lanes = vectors[0];
            for v in &vectors[1..] {
                lanes.iter_mut().zip(v).for_each(|(top, &v)| *top = top.larger(v));
            }
            *top = total(lanes, T::larger);
        }
        let mut sums = [[T::zero(); LANES]; ROWS];
        for ((row, top), sums) in rows.chunks_exact_mut(width).zip(tops).zip(&mut sums) {
            let mut lanes = [T::zero(); LANES];
            for v in row.as_chunks_mut::<LANES>().0 {
                for (sum, v) in lanes.iter_mut().zip(v) {
                    *v = ((*v - top) * scale).exponential();
                    *sum += *v;
                }
            }
            *sums = lanes;
        }
        for (row, sums) in rows.chunks_exact_mut(width).zip(sums) {
            let inverse = T::one() / total(sums, |a, b| a + b);
            for v in row {
                *v *= inverse;
            }
        }
    }
}

/// The gradient `scale p (d - sum(d p))` of scores, from that of their probabilities `p`,
/// in its place.
#[inline(always)]
pub fn softmax_grad<T: Real>(d: &mut [T], p: &[T], tokens: usize, scale: T) {
    d[tokens..].fill(T::zero());
    let mut sums = [T::zero(); LANES];
    for (d, p) in d.as_chunks::<LANES>().0.iter().zip(p.as_chunks::<LANES>().0) {
        for ((sum, &d), &p) in sums.iter_mut().zip(d).zip(p) {
            *sum += d * p;
        }
    }
    let sum = total(sums, |a, b| a + b);
    // Not by vectors: the compiler makes no vector code of that.
    for (d, &p) in d.iter_mut().zip(p) {
        *d = p * (*d - sum) * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fills_up_counts_for_nothing() {
        for tokens in [1, 15, 16, 17, 197, 250] {
            let width = width(tokens);
            assert!(width >= tokens && width.is_multiple_of(LANES) && !width.is_multiple_of(256));
            let fill = |f: fn(usize) -> f64| {
                let mut row: Vec<f64> = (0..tokens).map(f).collect();
                row.resize(width, f64::NAN);
                row
            };
            let mut p = fill(|i| (i * 7 % 11) as f64 - 20.0);
            let plain: Vec<f64> = p[..tokens].iter().map(|v| libm::exp(0.5 * v)).collect();
            let sum: f64 = plain.iter().sum();
            softmax(&mut p, tokens, 0.5);
            let mut d = fill(|i| (i % 5) as f64);
            let inner: f64 = (0..tokens).map(|i| d[i] * plain[i] / sum).sum();
            let wanted: Vec<f64> =
                (0..tokens).map(|i| 0.5 * plain[i] / sum * (d[i] - inner)).collect();
            softmax_grad(&mut d, &p, tokens, 0.5);
            for i in 0..tokens {
                assert!((p[i] - plain[i] / sum).abs() < 1e-14, "{tokens}: {i}");
                assert!((d[i] - wanted[i]).abs() < 1e-14, "{tokens}: {i}");
            }
            assert!(p[tokens..].iter().chain(&d[tokens..]).all(|&v| v == 0.0), "{tokens}");
        }
    }

    #[test]
    fn rows_passed_over_together_are_as_one_by_one() {
        let (tokens, rows) = (19, 2 * ROWS + 3);
        let mut all: Vec<f32> = (0..rows * width(tokens)).map(|i| (i * 7 % 31) as f32).collect();
        let mut each = all.clone();
        softmax(&mut all, tokens, 0.3);
        each.chunks_mut(width(tokens)).for_each(|row| softmax(row, tokens, 0.3));
        assert_eq!(all, each);
    }

    #[test]
    fn what_is_no_number_stays_in_its_row() {
        let mut row = [1f32, f32::NAN, 2.0, 0.0].repeat(4);
        softmax(&mut row, 3, 1.0);
        assert!(row[..3].iter().all(|v| v.is_nan()));
        let mut after = vec![1f32; 16];
        softmax(&mut after, 2, 1.0);
        assert_eq!(after[..2], [0.5, 0.5]);
    }
}
