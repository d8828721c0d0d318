//! Central differences.

/// The gradient of `f` at `x` by central differences with step `h`.
pub fn differences(x: &[f64], h: f64, mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let mut at = x.to_vec();
    (0..x.len())
        .map(|i| {
            at[i] = x[i] + h;
            let above = f(&at);
            at[i] = x[i] - h;
            let below = f(&at);
            at[i] = x[i];
            (above - below) / (2.0 * h)
        })
        .collect()
}

/// The largest difference of two vectors, relative to the largest entry of the
/// second (or to 1e-3, if it is smaller).
pub fn worst(got: &[f64], wanted: &[f64]) -> f64 {
    if got.len() != wanted.len() {
        return f64::INFINITY;
    }
    let size = wanted.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    let gap = got.iter().zip(wanted).map(|(a, b)| (a - b).abs() / size);
    gap.fold(0.0, |m, v| if v.is_nan() { f64::INFINITY } else { m.max(v) })
}
