//! Vectors of numbers.

/// The sum of products.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The length.
pub fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}
