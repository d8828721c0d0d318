//! Filters, and the weights with which they mix source lines.

use serde::{Deserialize, Serialize};

/// Fractional bits of the weights.
pub(super) const FIX: u32 = 22;

/// Resize filters. Both are widened when shrinking ("antialias").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Triangle, reaching 1 pixel.
    Bilinear,
    /// Cubic convolution with a = -0.5, reaching 2 pixels.
    Bicubic,
}

impl Interpolation {
    fn reach(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        const A: f64 = -0.5;
        let v = distance.abs();
        match self {
            Self::Bilinear => (1.0 - v).max(0.0),
            Self::Bicubic if v < 1.0 => ((A + 2.0) * v - (A + 3.0)) * v * v + 1.0,
            Self::Bicubic if v < 2.0 => (((v - 5.0) * v + 8.0) * v - 4.0) * A,
            Self::Bicubic => 0.0,
        }
    }
}

/// The sources of output lines: each reads `count` lines in a row. Lines with
/// fewer sources have weights of 0, so that inner loops have a fixed length.
pub(super) struct Taps {
    pub(super) firsts: Vec<usize>,
    pub(super) count: usize,
    /// `count` per output line, with [`FIX`] fractional bits.
    pub(super) weights: Vec<i32>,
}

impl Taps {
    /// For output lines `start..start + lines` when `from` lines become `to`.
    pub(super) fn new(
        from: usize,
        to: usize,
        start: usize,
        lines: usize,
        filter: Interpolation,
    ) -> Self {
        if from == to {
            let weights = vec![1 << FIX; lines];
            return Self { firsts: (start..start + lines).collect(), count: 1, weights };
        }
        let ratio = from as f64 / to as f64;
        let widen = ratio.max(1.0);
        let span = filter.reach() * widen;
        let middle = |line: usize| (line as f64 + 0.5) * ratio;
        let range = |line: usize| {
            // A cast cuts negative values to 0, as Pillow does.
            let first = (middle(line) - span + 0.5) as usize;
            (first, ((middle(line) + span + 0.5) as usize).min(from))
        };
        let lines = start..start + lines;
        let lengths = lines.clone().map(range).map(|(first, end)| end.saturating_sub(first));
        let count = lengths.max().unwrap_or(0);
        let (mut firsts, mut weights) = (Vec::new(), vec![0; count * lines.len()]);
        let (mut raw, scale) = (Vec::new(), 1.0 / widen);
        for (line, weights) in lines.zip(weights.chunks_exact_mut(count.max(1))) {
            let ((first, end), middle) = (range(line), middle(line));
            raw.clear();
            raw.extend((first..end).map(|k| filter.weight((k as f64 - middle + 0.5) * scale)));
            let part = 1.0 / raw.iter().sum::<f64>();
            let padded = first.min(from - count);
            for (fixed, raw) in weights.iter_mut().skip(first - padded).zip(&raw) {
                let weight = raw * part;
                *fixed = (weight * f64::from(1 << FIX) + 0.5f64.copysign(weight)) as i32;
            }
            firsts.push(padded);
        }
        Self { firsts, count, weights }
    }

    /// First source and weights of each output line.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.firsts.iter().copied().zip(self.weights.chunks_exact(self.count.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one() {
        for filter in [Interpolation::Bilinear, Interpolation::Bicubic] {
            for (from, to) in [(1, 9), (2, 1), (227, 224), (31, 64), (500, 7)] {
                let taps = Taps::new(from, to, 0, to, filter);
                for (first, weights) in taps.lines() {
                    let sum: i32 = weights.iter().sum();
                    assert!((sum - (1 << FIX)).abs() <= weights.len() as i32);
                    assert!(first + weights.len() <= from);
                }
            }
        }
    }

    #[test]
    fn a_part_has_the_weights_of_the_whole() {
        let whole = Taps::new(50, 33, 0, 33, Interpolation::Bicubic);
        let part = Taps::new(50, 33, 10, 5, Interpolation::Bicubic);
        let sources = |(first, weights): (usize, &[i32])| -> Vec<(usize, i32)> {
            (first..).zip(weights.iter().copied()).filter(|(_, w)| *w != 0).collect()
        };
        let wanted: Vec<_> = whole.lines().skip(10).take(5).map(sources).collect();
        assert_eq!(part.lines().map(sources).collect::<Vec<_>>(), wanted);
    }
}
