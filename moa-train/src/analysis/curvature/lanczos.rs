//! Lanczos' method: a small tridiagonal matrix whose eigenvalues are those of a large one, the
//! outermost first.

use crate::analysis::vector::{dot, norm};
use anyhow::Result;

/// A symmetric tridiagonal matrix.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tridiagonal {
    /// Its diagonal.
    pub diagonal: Vec<f64>,
    /// Beside it, one less.
    pub beside: Vec<f64>,
}

/// An eigenvalue with the square of its eigenvector's first entry; all squares sum to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Eigen {
    /// The eigenvalue.
    pub value: f64,
    /// Its weight.
    pub weight: f64,
}

/// At most `steps` steps from `start`, which is not zero; fewer if the space ends before. Every new
/// direction is made orthogonal to all before, twice: rounding would bring old ones back.
///
/// # Errors
/// What `times` returns.
pub fn lanczos(
    start: &[f64],
    steps: usize,
    mut times: impl FnMut(&[f64]) -> Result<Vec<f64>>,
) -> Result<Tridiagonal> {
    let mut matrix = Tridiagonal::default();
    let mut found: Vec<Vec<f64>> = Vec::new();
    let mut v = scaled(start, 1.0 / norm(start));
    for step in 0..steps.min(start.len()) {
        let mut w = times(&v)?;
        matrix.diagonal.push(dot(&w, &v));
        found.push(v);
        for _ in 0..2 {
            for u in &found {
                let along = dot(&w, u);
                w.iter_mut().zip(u).for_each(|(w, u)| *w -= along * u);
            }
        }
        let length = norm(&w);
        let scale = matrix.diagonal.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        if step + 1 == steps || length <= 1e-10 * scale.max(f64::MIN_POSITIVE) {
            break;
        }
        matrix.beside.push(length);
        v = scaled(&w, 1.0 / length);
    }
    matrix.beside.truncate(matrix.diagonal.len().saturating_sub(1));
    Ok(matrix)
}

impl Tridiagonal {
    /// Eigenvalues, smallest first, by implicit QL steps (Bowdler et al. 1968, EISPACK's `tql2`).
    pub fn eigen(&self) -> Vec<Eigen> {
        let n = self.diagonal.len();
        let (mut d, mut e) = (self.diagonal.clone(), self.beside.clone());
        e.push(0.0);
        let mut first: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i == 0))).collect();
        for l in 0..n {
            for _ in 0..100 {
                let small =
                    |m: &usize| e[*m].abs() <= f64::EPSILON * (d[*m].abs() + d[*m + 1].abs());
                let m = (l..n - 1).find(small).unwrap_or(n - 1);
                if m == l {
                    break;
                }
                let g = (d[l + 1] - d[l]) / (2.0 * e[l]);
                let r = g.hypot(1.0);
                let mut g = d[m] - d[l] + e[l] / (g + r.copysign(g));
                let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
                for i in (l..m).rev() {
                    let (f, b) = (s * e[i], c * e[i]);
                    let r = f.hypot(g);
                    e[i + 1] = r;
                    (s, c) = if r == 0.0 { (0.0, 1.0) } else { (f / r, g / r) };
                    let before = d[i + 1] - p;
                    let t = (d[i] - before) * s + 2.0 * c * b;
                    p = s * t;
                    d[i + 1] = before + p;
                    g = c * t - b;
                    let (x, y) = (first[i], first[i + 1]);
                    (first[i], first[i + 1]) = (c * x - s * y, s * x + c * y);
                }
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
        let pair = |(value, x): (f64, f64)| Eigen { value, weight: x * x };
        let mut all: Vec<Eigen> = d.into_iter().zip(first).map(pair).collect();
        all.sort_by(|a, b| a.value.total_cmp(&b.value));
        all
    }
}

fn scaled(a: &[f64], factor: f64) -> Vec<f64> {
    a.iter().map(|a| a * factor).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_known_tridiagonal_matrix() {
        // 2 on the diagonal, -1 beside it: 2 - 2 cos(k pi / (n + 1)).
        let n = 12;
        let matrix = Tridiagonal { diagonal: vec![2.0; n], beside: vec![-1.0; n - 1] };
        let eigen = matrix.eigen();
        let angle = std::f64::consts::PI / (n + 1) as f64;
        for (k, found) in (1..).zip(&eigen) {
            let angle = f64::from(k) * angle;
            assert!((found.value - (2.0 - 2.0 * angle.cos())).abs() < 1e-12, "{k}");
            let weight = 2.0 / (n + 1) as f64 * angle.sin().powi(2);
            assert!((found.weight - weight).abs() < 1e-12, "{k}");
        }
        assert_eq!(Tridiagonal { diagonal: vec![3.0], beside: vec![] }.eigen()[0].value, 3.0);
    }

    #[test]
    fn a_quadratic_of_known_spectrum() {
        // Eigenvalues on the diagonal, in a rotated basis: I - 2 u u^T is a reflection.
        let n = 60;
        let values: Vec<f64> =
            (0..n).map(|i| if i == 7 { 40.0 } else { i as f64 * 0.1 - 2.0 }).collect();
        let u: Vec<f64> = scaled(&(0..n).map(|i| (i as f64).sin() + 0.3).collect::<Vec<_>>(), 1.0);
        let u = scaled(&u, 1.0 / norm(&u));
        let reflect = |v: &[f64]| -> Vec<f64> {
            let along = 2.0 * dot(v, &u);
            v.iter().zip(&u).map(|(v, u)| v - along * u).collect()
        };
        let times = |v: &[f64]| {
            Ok(reflect(&reflect(v).iter().zip(&values).map(|(v, d)| v * d).collect::<Vec<_>>()))
        };
        let start: Vec<f64> = (0..n).map(|i| 1.0 + (i % 3) as f64).collect();
        // A few steps find the outermost ones, all steps all of them.
        let few = lanczos(&start, 12, times).unwrap().eigen();
        assert!((few.last().unwrap().value - 40.0).abs() < 1e-6);
        assert!((few.iter().map(|e| e.weight).sum::<f64>() - 1.0).abs() < 1e-12);
        let all = lanczos(&start, n, times).unwrap().eigen();
        let mut wanted = values.clone();
        wanted.sort_by(f64::total_cmp);
        assert_eq!(all.len(), n);
        all.iter().zip(wanted).for_each(|(a, b)| assert!((a.value - b).abs() < 1e-8, "{a:?} {b}"));
    }

    #[test]
    fn a_space_that_ends_early() {
        let times = |v: &[f64]| Ok(scaled(v, 3.0));
        let found = lanczos(&[1.0, 2.0, 2.0], 3, times).unwrap();
        assert_eq!(found.diagonal.len(), 1);
        assert!((found.eigen()[0].value - 3.0).abs() < 1e-12);
    }
}
