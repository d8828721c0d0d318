use super::MAX_SCALE;
use crate::cpu::{BLOCK, Real, dot, lane_sum, sum_blocks, vectorise, zeros};
use rayon::prelude::*;

/// Shortest length that a vector is divided by.
const EPS: f64 = 1e-12;

pub struct Grads<T> {
    pub z: Vec<T>,
    pub sim: Vec<T>,
    pub temperature: T,
}

fn length<T: Real>(values: impl Iterator<Item = T>) -> T {
    values.fold(T::zero(), |sum, v| sum + v * v).root()
}

fn scale<T: Real>(temperature: T) -> T {
    T::from_f64(libm::exp(temperature.to_f64().min(libm::log(MAX_SCALE))))
}

/// The columns of `sim` as unit rows, and their lengths. Equal columns stay equal.
fn unit_columns<T: Real>(sim: &[T], experts: usize) -> (Vec<T>, Vec<T>) {
    let columns = (0..experts).map(|e| sim.iter().skip(e).step_by(experts).copied());
    let lengths: Vec<T> = columns.clone().map(length).collect();
    let units = columns
        .zip(&lengths)
        .flat_map(|(column, &len)| column.map(move |v| v / len.larger(T::from_f64(EPS))))
        .collect();
    (units, lengths)
}

/// Length of a row. The compiler makes no vector code of its inner product with itself.
#[inline(always)]
fn norm<T: Real>(z: &[T]) -> T {
    lane_sum(z, |v| v * v).root()
}

pub fn forward<T: Real>(z: &[T], sim: &[T], experts: usize, temperature: T) -> Vec<T> {
    let width = sim.len() / experts;
    let (units, _) = unit_columns(sim, experts);
    let scale = scale(temperature);
    let mut scores = vec![T::zero(); z.len() / width * experts];
    let rows = scores.par_chunks_mut(experts).zip(z.par_chunks(width));
    rows.with_min_len(BLOCK).for_each(|(scores, z)| {
        vectorise!({
            let factor = scale / norm(z).larger(T::from_f64(EPS));
            for (score, unit) in scores.iter_mut().zip(units.chunks_exact(width)) {
                *score = factor * dot(z, unit);
            }
        });
    });
    scores
}

/// With `u = z / |z|` and `du` its gradient, `dz = (du - u (u . du)) / |z|`; the
/// same for the columns of `sim`. A vector shorter than `EPS` is divided by the
/// constant `EPS`, so its second term is absent.
pub fn backward<T: Real>(
    z: &[T],
    sim: &[T],
    experts: usize,
    temperature: T,
    scores: &[T],
    grad: &[T],
) -> Grads<T> {
    let (width, tokens) = (sim.len() / experts, scores.len() / experts);
    let (units, lengths) = unit_columns(sim, experts);
    let (scale, eps) = (scale(temperature), T::from_f64(EPS));

    let mut dz = zeros(z.len());
    let rows = dz.par_chunks_mut(width).zip(z.par_chunks(width)).zip(grad.par_chunks(experts));
    rows.with_min_len(BLOCK).for_each(|((dz, z), grad)| {
        vectorise!({
            for (unit, &g) in units.chunks_exact(width).zip(grad) {
                for (dz, &u) in dz.iter_mut().zip(unit) {
                    *dz += scale * g * u;
                }
            }
            let len = norm(z);
            let inverse = T::one() / len.larger(eps);
            let along = if len > eps { dot(dz, z) * inverse * inverse } else { T::zero() };
            for (dz, &z) in dz.iter_mut().zip(z) {
                *dz = (*dz - z * along) * inverse;
            }
        });
    });

    // Gradients of the unit columns, expert by expert, then the temperature's.
    let sums = sum_blocks(tokens, experts * width + 1, |rows, plane| {
        vectorise!({
            for t in rows {
                let z = &z[t * width..(t + 1) * width];
                let factor = scale / norm(z).larger(eps);
                for e in 0..experts {
                    let g = grad[t * experts + e];
                    for (p, &z) in plane[e * width..(e + 1) * width].iter_mut().zip(z) {
                        *p += g * factor * z;
                    }
                    plane[experts * width] += g * scores[t * experts + e];
                }
            }
        });
    });
    let mut dsim = vec![T::zero(); sim.len()];
    for e in 0..experts {
        let (unit, du) = (&units[e * width..][..width], &sums[e * width..][..width]);
        let along = if lengths[e] > eps { dot(unit, du) } else { T::zero() };
        for i in 0..width {
            dsim[i * experts + e] = (du[i] - unit[i] * along) / lengths[e].larger(eps);
        }
    }
    let capped = temperature.to_f64() > libm::log(MAX_SCALE);
    let temperature = if capped { T::zero() } else { sums[experts * width] };
    Grads { z: dz, sim: dsim, temperature }
}
