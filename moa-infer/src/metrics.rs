//! Accuracy, confusion and calibration from probabilities.

use serde::{Deserialize, Serialize};

/// Bins of the expected calibration error.
pub const BINS: usize = 15;

/// Images whose confidence is in one bin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// How many.
    pub images: usize,
    /// Mean probability of the class that was chosen; 0 without images.
    pub confidence: f64,
    /// Share of them that are right; 0 without images.
    pub accuracy: f64,
}

/// What a set of predictions is worth.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Mean squared distance of the probabilities from certainty (Brier 1950), summed over
    /// classes: 0 to 2.
    pub brier: f64,
    /// The bins of the calibration error: images, mean confidence, accuracy.
    pub reliability: Vec<Bin>,
    /// `confusion[true][predicted]` counts.
    pub confusion: Vec<Vec<usize>>,
}

impl Metrics {
    /// From probabilities (one row per image) and labels.
    pub fn new(probs: &[Vec<f32>], labels: &[usize], classes: usize) -> Self {
        let images = labels.len();
        let mut confusion = vec![vec![0; classes]; classes];
        let mut bins = vec![(0usize, 0.0f64, 0usize); BINS];
        let (mut right, mut nll, mut brier) = (0, 0.0, 0.0);
        for (row, &label) in probs.iter().zip(labels) {
            let best = argmax(row);
            let confidence = row[best] as f64;
            let hit = best == label;
            right += usize::from(hit);
            confusion[label][best] += 1;
            nll -= (row[label] as f64).max(f64::MIN_POSITIVE).ln();
            let truth = |class: usize| f64::from(u8::from(class == label));
            let far = |(class, &p): (usize, &f32)| (f64::from(p) - truth(class)).powi(2);
            brier += row.iter().enumerate().map(far).sum::<f64>();
            let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            let (count, sum, hits) = &mut bins[bin];
            *count += 1;
            *sum += confidence;
            *hits += usize::from(hit);
        }
        let n = images.max(1) as f64;
        let gap = |&(_, sum, hits): &(usize, f64, usize)| (sum - hits as f64).abs() / n;
        let ece = bins.iter().map(gap).sum();
        let bin = |(images, sum, hits): (usize, f64, usize)| {
            let n = images.max(1) as f64;
            Bin { images, confidence: sum / n, accuracy: hits as f64 / n }
        };
        let reliability = bins.into_iter().map(bin).collect();
        let (accuracy, nll, brier) = (right as f64 / n, nll / n, brier / n);
        Self { images, accuracy, ece, nll, brier, reliability, confusion }
    }
}

/// Probabilities of one image, its logits divided by `temperature` first. In f64, so that they
/// sum to 1.
pub fn softmax(logits: &[f32], temperature: f64) -> Vec<f32> {
    let most = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let exp = |&z: &f32| ((f64::from(z) - f64::from(most)) / temperature).exp();
    let all: Vec<f64> = logits.iter().map(exp).collect();
    let sum: f64 = all.iter().sum();
    all.into_iter().map(|e| (e / sum) as f32).collect()
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
        let brier = 2.0 * (0.1f64.powi(2) + 0.4f64.powi(2) + 0.8f64.powi(2) + 0.5f64.powi(2)) / 4.0;
        assert!((m.brier - brier).abs() < 1e-6);
        assert_eq!(m.reliability.iter().map(|bin| bin.images).sum::<usize>(), 4);
        assert!((m.ece - (0.1 + 0.4 + 0.8 + 0.5) / 4.0).abs() < 1e-6, "{}", m.ece);
        assert_eq!(top_k(&[0.2, 0.5, 0.5], 2), [1, 2]);
    }

    #[test]
    fn probabilities() {
        let p = softmax(&[1.0, 3.0, 2.0], 1.0);
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((f64::from(p[1] / p[0]).ln() - 2.0).abs() < 1e-6);
        let cooler = softmax(&[1.0, 3.0, 2.0], 2.0);
        assert!((f64::from(cooler[1] / cooler[0]).ln() - 1.0).abs() < 1e-6);
        assert_eq!(softmax(&[1e30, -1e30], 1.0), [1.0, 0.0]);
    }

    #[test]
    fn a_bin_averages_before_the_distance() {
        // Two images of confidence 0.75, one right: the bin is off by a quarter.
        let m = Metrics::new(&[vec![0.75, 0.25], vec![0.75, 0.25]], &[0, 1], 2);
        assert!((m.ece - 0.25).abs() < 1e-7);
    }
}
