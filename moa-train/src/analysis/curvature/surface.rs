//! The loss on a square of two random directions around what was trained.

use super::objective::Objective;
use crate::analysis::vector::norm;
use anyhow::Result;
use moa_kernels::rng::{Key, Purpose};
use serde::{Deserialize, Serialize};

/// Losses on a grid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Surface {
    /// Half the side of the square, in lengths of what was trained.
    pub radius: f64,
    /// `loss[row][column]`; the middle one is what was trained.
    pub loss: Vec<Vec<f64>>,
    /// Images behind it.
    pub images: usize,
}

/// On `points` x `points` places. Each row of a direction (each "filter") is as long as that of
/// the trained tensor (Li et al. 2018), so that methods with other scales can be compared: at
/// radius 1 every row is moved by its own length. `say` is told of each place.
///
/// # Errors
/// Only if the device fails.
pub fn surface(
    objective: &Objective,
    (radius, points): (f64, usize),
    seed: u64,
    mut say: impl FnMut(usize),
) -> Result<Surface> {
    let (x, y) = (direction(objective, seed, 0), direction(objective, seed, 1));
    let place = |i: usize| radius * (2.0 * i as f64 / (points - 1).max(1) as f64 - 1.0);
    let mut loss = Vec::new();
    for row in 0..points {
        let mut line = Vec::new();
        for col in 0..points {
            let (a, b) = (place(col), place(row));
            let start = objective.start().iter();
            let at: Vec<f64> =
                start.zip(x.iter().zip(&y)).map(|(w, (x, y))| w + a * x + b * y).collect();
            line.push(objective.loss(&at)?);
            say(1);
        }
        loss.push(line);
    }
    Ok(Surface { radius, loss, images: objective.images() })
}

fn direction(objective: &Objective, seed: u64, index: u64) -> Vec<f64> {
    let mut draws = Key::new(seed, Purpose::Analysis, 2).draws(index);
    let mut all: Vec<f64> = (0..objective.start().len()).map(|_| draws.normal()).collect();
    let mut from = 0;
    for (_, shape) in objective.tensors() {
        let count: usize = shape.iter().product();
        let row = if shape.len() > 1 { count / shape[0].max(1) } else { count };
        let here = from..from + count;
        let rows = all[here.clone()].chunks_mut(row.max(1));
        for (row, trained) in rows.zip(objective.start()[here].chunks(row.max(1))) {
            let factor = norm(trained) / norm(row).max(f64::MIN_POSITIVE);
            row.iter_mut().for_each(|x| *x *= factor);
        }
        from += count;
    }
    all
}
