//! t-SNE (van der Maaten and Hinton 2008), with every pair of points: a map in which near
//! features stay near. Seeded, the same bits for any number of threads.

use moa_kernels::rng::{Key, Purpose};
use rayon::prelude::*;

const PERPLEXITY: f64 = 30.0;
const STEPS: usize = 750;
/// Steps in which near points are pulled together more.
const EARLY: usize = 250;
const EXAGGERATION: f64 = 12.0;

/// A place for each row.
pub fn embed(rows: &[Vec<f32>], seed: u64) -> Vec<[f64; 2]> {
    let n = rows.len();
    if n < 4 {
        return (0..n).map(|i| [i as f64, 0.0]).collect();
    }
    let p = affinities(rows);
    let key = Key::new(seed, Purpose::Analysis, 0);
    let mut y: Vec<[f64; 2]> = (0..n)
        .map(|i| {
            let mut draws = key.draws(i as u64);
            [1e-4 * draws.normal(), 1e-4 * draws.normal()]
        })
        .collect();
    let rate = (n as f64 / EXAGGERATION / 4.0).max(50.0);
    let (mut speed, mut gain) = (vec![[0.0; 2]; n], vec![[1.0; 2]; n]);
    for step in 0..STEPS {
        let early = step < EARLY;
        let factor = if early { EXAGGERATION } else { 1.0 };
        let momentum = if early { 0.5 } else { 0.8 };
        let gradient = gradient(&p, &y, factor);
        for i in 0..n {
            for c in 0..2 {
                // Faster where the direction stays, slower where it turns (Jacobs 1988).
                let turns = (gradient[i][c] > 0.0) == (speed[i][c] > 0.0);
                gain[i][c] = if turns { (gain[i][c] * 0.8f64).max(0.01) } else { gain[i][c] + 0.2 };
                speed[i][c] = momentum * speed[i][c] - rate * gain[i][c] * gradient[i][c];
                y[i][c] += speed[i][c];
            }
        }
        let mean = [0, 1].map(|c| y.iter().map(|p| p[c]).sum::<f64>() / n as f64);
        y.iter_mut().for_each(|p| *p = [p[0] - mean[0], p[1] - mean[1]]);
    }
    y
}

/// Symmetric probabilities that two points are neighbours, row by row.
fn affinities(rows: &[Vec<f32>]) -> Vec<Vec<f64>> {
    let n = rows.len();
    let wanted = PERPLEXITY.min((n - 1) as f64 / 3.0).ln();
    let given: Vec<Vec<f64>> = (0..n)
        .into_par_iter()
        .map(|i| {
            let far = |row: &Vec<f32>| -> f64 {
                row.iter().zip(&rows[i]).map(|(a, b)| f64::from(a - b).powi(2)).sum()
            };
            let squares: Vec<f64> = rows.iter().map(far).collect();
            spread(&squares, i, wanted)
        })
        .collect();
    let both = |i: usize, j: usize| (given[i][j] + given[j][i]) / (2 * n) as f64;
    (0..n).map(|i| (0..n).map(|j| both(i, j).max(1e-12)).collect()).collect()
}

/// The width of a normal distribution around point `i` whose entropy is as wanted, by bisection.
fn spread(squares: &[f64], i: usize, wanted: f64) -> Vec<f64> {
    let near = squares.iter().enumerate().filter(|(j, _)| *j != i);
    let nearest = near.map(|(_, d)| *d).fold(f64::INFINITY, f64::min);
    let (mut low, mut high, mut beta) = (0.0, f64::INFINITY, 1.0);
    let mut p = vec![0.0; squares.len()];
    for _ in 0..100 {
        let (mut sum, mut mean) = (0.0, 0.0);
        for (j, square) in squares.iter().enumerate() {
            let d = square - nearest;
            p[j] = if j == i { 0.0 } else { (-beta * d).exp() };
            sum += p[j];
            mean += p[j] * d;
        }
        let entropy = f64::ln(sum) + beta * mean / sum;
        p.iter_mut().for_each(|p| *p /= sum);
        if (entropy - wanted).abs() < 1e-7 {
            break;
        }
        if entropy > wanted {
            low = beta
        } else {
            high = beta
        }
        beta = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * beta };
    }
    p
}

fn gradient(p: &[Vec<f64>], y: &[[f64; 2]], factor: f64) -> Vec<[f64; 2]> {
    let n = y.len();
    let near = |i: usize, j: usize| {
        let d = [y[i][0] - y[j][0], y[i][1] - y[j][1]];
        1.0 / (1.0 + d[0] * d[0] + d[1] * d[1])
    };
    // Each row is summed by one thread, rows in order.
    let sums: Vec<f64> = (0..n)
        .into_par_iter()
        .map(|i| (0..n).filter(|&j| j != i).map(|j| near(i, j)).sum())
        .collect();
    let total: f64 = sums.iter().sum();
    (0..n)
        .into_par_iter()
        .map(|i| {
            let mut sum = [0.0; 2];
            for j in (0..n).filter(|&j| j != i) {
                let q = near(i, j);
                let pull = 4.0 * (factor * p[i][j] - q / total) * q;
                sum[0] += pull * (y[i][0] - y[j][0]);
                sum[1] += pull * (y[i][1] - y[j][1]);
            }
            sum
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_stay_apart() {
        let rows: Vec<Vec<f32>> = (0..60)
            .map(|i| {
                let mut row = vec![0.0; 8];
                row[i % 3] = 10.0;
                row[3 + i % 5] += 0.1 * (i / 3) as f32;
                row
            })
            .collect();
        let y = embed(&rows, 5);
        assert_eq!(y, embed(&rows, 5));
        let far =
            |i: usize, j: usize| ((y[i][0] - y[j][0]).powi(2) + (y[i][1] - y[j][1]).powi(2)).sqrt();
        // The nearest neighbour of a point is of its cluster.
        for i in 0..60 {
            let others = (0..60).filter(|&j| j != i);
            let nearest = others.min_by(|&a, &b| far(i, a).total_cmp(&far(i, b))).unwrap_or(0);
            assert_eq!(nearest % 3, i % 3, "{i}");
        }
        assert_eq!(embed(&rows[..2], 0).len(), 2);
    }

    #[test]
    fn probabilities_have_the_entropy_asked_for() {
        let squares: Vec<f64> = (0..50).map(|i| f64::from(i * i)).collect();
        let p = spread(&squares, 0, 10f64.ln());
        let entropy: f64 = p.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        assert!((entropy - 10f64.ln()).abs() < 1e-5);
        assert_eq!(p[0], 0.0);
    }
}
