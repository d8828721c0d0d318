//! Accuracy, confusion and calibration from probabilities.

use serde::Serialize;

/// Bins of the expected calibration error.
pub const BINS: usize = 15;

/// What a set of predictions is worth.
#[derive(Clone, Debug, Serialize)]
pub struct Metrics {
    /// Number of images.
    pub images: usize,
    /// Share of images whose most likely class is the right one.
    pub accuracy: f64,
    /// Expected calibration error in [`BINS`] equal bins (Guo et al. 2017): mean
    /// distance of confidence and accuracy, weighted by bin size.
    pub ece: f64,
    /// Mean negative log likelihood of the right class.
    pub nll: f64,
    /// `confusion[true][predicted]` counts.
    pub confusion: Vec<Vec<usize>>,
}

impl Metrics {
    /// From probabilities (one row per image) and labels.
    pub fn new(probs: &[Vec<f32>], labels: &[usize], classes: usize) -> Self {
        let images = labels.len();
        let mut confusion = vec![vec![0; classes]; classes];
        let mut bins = vec![(0usize, 0.0f64, 0usize); BINS];
        let (mut right, mut nll) = (0, 0.0);
        for (row, &label) in probs.iter().zip(labels) {
            let best = argmax(row);
            let confidence = row[best] as f64;
            let hit = best == label;
            right += usize::from(hit);
            confusion[label][best] += 1;
            nll -= (row[label] as f64).max(f64::MIN_POSITIVE).ln();
            let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            let (count, sum, hits) = &mut bins[bin];
            *count += 1;
            *sum += confidence;
            *hits += usize::from(hit);
        }
        let n = images.max(1) as f64;
        let gap = |&(_, sum, hits): &(usize, f64, usize)| (sum - hits as f64).abs() / n;
        let ece = bins.iter().map(gap).sum();
        Self { images, accuracy: right as f64 / n, ece, nll: nll / n, confusion }
    }
}

/// Index of the largest value, the first of equals (numpy `argmax`).
pub fn argmax(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// The `k` most likely classes, best first; the first of equals wins.
pub fn top_k(row: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    order.truncate(k);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let probs = [vec![0.9, 0.1], vec![0.4, 0.6], vec![0.8, 0.2], vec![0.5, 0.5]];
        let m = Metrics::new(&probs, &[0, 1, 1, 0], 2);
        assert_eq!((m.images, m.accuracy), (4, 0.75));
        assert_eq!(m.confusion, [[2, 0], [1, 1]]);
        let nll = -(0.9f64.ln() + 0.6f64.ln() + 0.2f64.ln() + 0.5f64.ln()) / 4.0;
        assert!((m.nll - nll).abs() < 1e-6);
        assert!((m.ece - (0.1 + 0.4 + 0.8 + 0.5) / 4.0).abs() < 1e-6, "{}", m.ece);
        assert_eq!(top_k(&[0.2, 0.5, 0.5], 2), [1, 2]);
    }

    #[test]
    fn a_bin_averages_before_the_distance() {
        // Two images of confidence 0.75, one right: the bin is off by a quarter.
        let m = Metrics::new(&[vec![0.75, 0.25], vec![0.75, 0.25]], &[0, 1], 2);
        assert!((m.ece - 0.25).abs() < 1e-7);
    }
}
