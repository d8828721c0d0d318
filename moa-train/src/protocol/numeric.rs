//! Sums in numpy's order, so that ties and last digits come out as DomainBed's.

/// `numpy.sum` of a contiguous `float64` array (pairwise summation).
pub(super) fn sum(values: &[f64]) -> f64 {
    const BLOCK: usize = 128;
    if values.len() > BLOCK {
        let mut half = values.len() / 2;
        half -= half % 8;
        let (left, right) = values.split_at(half);
        return sum(left) + sum(right);
    }
    let (eights, rest) = values.as_chunks::<8>();
    let Some((first, others)) = eights.split_first() else {
        return rest.iter().sum();
    };
    let mut r = *first;
    for eight in others {
        for (total, value) in r.iter_mut().zip(eight) {
            *total += value;
        }
    }
    let [a, b, c, d, e, f, g, h] = r;
    rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |total, value| total + value)
}

/// `numpy.mean`; NaN for no values.
pub(super) fn mean(values: &[f64]) -> f64 {
    sum(values) / values.len() as f64
}

/// `numpy.std`: the deviation of the population (`ddof` 0).
pub(super) fn deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    let squares: Vec<f64> = values.iter().map(|v| (v - centre) * (v - centre)).collect();
    mean(&squares).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(n: usize) -> Vec<f64> {
        (0..n).map(|i| 1.0 / (i + 1) as f64).collect()
    }

    /// Bits of `numpy.sum(1 / numpy.arange(1, n + 1))`, numpy 2.4.
    #[test]
    fn numpy_sums() {
        let sums = [
            (1, 0x3ff0_0000_0000_0000),
            (7, 0x4004_be2b_e2be_2be2),
            (8, 0x4005_be2b_e2be_2be2),
            (9, 0x4006_a1ba_1ba1_ba1b),
            (17, 0x400b_8434_1cec_ee4c),
            (128, 0x4015_bb8a_e954_1ca7),
            (129, 0x4015_c37b_0914_9ba9),
            (1000, 0x401d_f11f_45f4_e61a),
        ];
        for (n, bits) in sums {
            assert_eq!(sum(&parts(n)).to_bits(), bits, "{n}");
        }
    }

    #[test]
    fn mean_and_deviation() {
        assert_eq!(mean(&[0.1, 0.2, 0.3]), 0.200_000_000_000_000_04);
        assert!((deviation(&[0.1, 0.2, 0.3]) - 0.081_649_658_092_772_6).abs() < 1e-16);
        assert!(mean(&[]).is_nan());
    }
}
