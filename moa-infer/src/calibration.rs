//! Outputs of a model with the right classes, and the temperature that makes probabilities of
//! them honest (Guo et al. 2017, "On calibration of modern neural networks").

use crate::metrics::{Metrics, softmax};

/// The range of temperatures that are looked at.
const RANGE: (f64, f64) = (0.02, 50.0);

/// Logits of images and their classes.
#[derive(Clone, Debug, Default)]
pub struct Scored {
    /// One row per image.
    pub logits: Vec<Vec<f32>>,
    /// The right class of each.
    pub labels: Vec<usize>,
}

impl Scored {
    /// What the predictions are worth, logits divided by `temperature` first.
    pub fn metrics(&self, classes: usize, temperature: f64) -> Metrics {
        let probs: Vec<_> = self.logits.iter().map(|row| softmax(row, temperature)).collect();
        Metrics::new(&probs, &self.labels, classes)
    }

    /// Mean negative log likelihood with logits times `beta`, and its first two derivatives.
    fn loss(&self, beta: f64) -> [f64; 3] {
        let mut sums = [0.0; 3];
        for (row, &label) in self.logits.iter().zip(&self.labels) {
            let most = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b)) as f64;
            let (mut total, mut first, mut second) = (0.0, 0.0, 0.0);
            for &z in row {
                let z = f64::from(z) - most;
                let p = (beta * z).exp();
                total += p;
                first += p * z;
                second += p * z * z;
            }
            let (mean, right) = (first / total, f64::from(row[label]) - most);
            sums[0] += total.ln() - beta * right;
            sums[1] += mean - right;
            sums[2] += second / total - mean * mean;
        }
        sums.map(|sum| sum / self.labels.len().max(1) as f64)
    }
}

/// The temperature with the least negative log likelihood, the mean over `sets` of each one's
/// mean. The loss is convex in its inverse: Newton's method between bounds that close in, which are
/// the answer where it has no least value.
pub fn temperature(sets: &[&Scored]) -> f64 {
    let sets: Vec<_> = sets.iter().filter(|set| !set.labels.is_empty()).collect();
    if sets.is_empty() {
        return 1.0;
    }
    let slopes = |beta: f64| {
        let losses = sets.iter().map(|set| set.loss(beta));
        losses.fold((0.0, 0.0), |(a, b), [_, first, second]| (a + first, b + second))
    };
    let (mut low, mut high, mut beta) = (1.0 / RANGE.1, 1.0 / RANGE.0, 1.0f64);
    if slopes(high).0 <= 0.0 {
        return 1.0 / high; // everything is right
    }
    if slopes(low).0 >= 0.0 {
        return 1.0 / low;
    }
    for round in 0..100 {
        let (first, second) = slopes(beta);
        if first > 0.0 {
            high = beta
        } else {
            low = beta
        }
        let step = beta - first / second;
        // Where the loss is flat Newton's steps are short.
        let inside = step > low && step < high && round % 4 != 3;
        let next = if inside { step } else { (low * high).sqrt() };
        let done = (next - beta).abs() <= 1e-9 * beta;
        beta = next;
        if done {
            break;
        }
    }
    1.0 / beta
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored() -> Scored {
        // Confident, right three times of four.
        let row = |best: usize| (0..3).map(|i| if i == best { 6.0 } else { 0.0 }).collect();
        Scored {
            logits: (0..40).map(|i| row(i % 3)).collect(),
            labels: (0..40).map(|i| if i % 4 == 0 { (i + 1) % 3 } else { i % 3 }).collect(),
        }
    }

    #[test]
    fn the_loss_is_least_and_has_these_slopes() {
        let scored = scored();
        let best = temperature(&[&scored]);
        let loss = |t: f64| scored.loss(1.0 / t)[0];
        assert!(loss(best) < loss(best * 1.01) && loss(best) < loss(best / 1.01), "{best}");
        assert!((loss(best) - scored.metrics(3, best).nll).abs() < 1e-6);
        // Of three classes, three quarters are right: e^(6/T) is 3/4 to 1/8.
        assert!((best - 6.0 / 6f64.ln()).abs() < 1e-6, "{best}");
        let (h, b) = (1e-4, 0.4);
        let [_, first, second] = scored.loss(b);
        let [up, down] = [scored.loss(b + h), scored.loss(b - h)];
        assert!(((up[0] - down[0]) / (2.0 * h) - first).abs() < 1e-6);
        assert!(((up[1] - down[1]) / (2.0 * h) - second).abs() < 1e-5);
        // What is too sure of itself is no more so.
        assert!(scored.metrics(3, best).ece < 1e-6 && scored.metrics(3, 1.0).ece > 0.2);
    }

    #[test]
    fn bounds() {
        let right = Scored { logits: vec![vec![3.0, 1.0]; 4], labels: vec![0; 4] };
        assert_eq!(temperature(&[&right]), RANGE.0);
        let wrong = Scored { logits: vec![vec![3.0, 1.0]; 4], labels: vec![1; 4] };
        assert_eq!(temperature(&[&wrong]), RANGE.1);
        assert_eq!(temperature(&[&Scored::default()]), 1.0);
    }
}
