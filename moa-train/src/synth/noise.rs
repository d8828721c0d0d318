//! Noise fields made of integer hashes only.

use super::canvas::Grid;

/// 32 well mixed bits for a lattice point.
pub(super) fn hash(seed: u32, x: i32, y: i32) -> u32 {
    let mut h = seed ^ (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    h ^ (h >> 15)
}

/// Uniform in `[-1, 1)` for a lattice point.
pub(super) fn white(seed: u32, x: i32, y: i32) -> f32 {
    (hash(seed, x, y) >> 8) as f32 * (1.0 / 8_388_608.0) - 1.0
}

/// Smooth noise in `[-1, 1]` whose waves are about `waves[0]` points wide and
/// `waves[1]` high; a point is 1/64 of the picture's side.
pub(super) fn smooth(grid: Grid, waves: [f32; 2], seed: u32) -> Vec<f32> {
    let mut field = vec![0.0; grid.area()];
    add(grid, waves, seed, 1.0, &mut field);
    field
}

/// `octaves` of [`smooth`] noise, each half as wide and half as strong as the
/// one before, in `[-1, 1]`.
pub(super) fn cloud(grid: Grid, waves: [f32; 2], octaves: u32, seed: u32) -> Vec<f32> {
    let mut field = vec![0.0; grid.area()];
    let (mut scale, mut total) = (1.0, 0.0);
    for _ in 0..octaves {
        total += scale;
        scale *= 0.5;
    }
    scale = 1.0;
    for octave in 0..octaves {
        let waves = waves.map(|wave| wave * scale);
        add(grid, waves, seed.wrapping_add(octave), scale / total, &mut field);
        scale *= 0.5;
    }
    field
}

/// Adds value noise: random values at lattice points, smoothstep in between.
fn add(grid: Grid, waves: [f32; 2], seed: u32, weight: f32, field: &mut [f32]) {
    let side = grid.side();
    let step = waves.map(|wave| grid.point() / wave);
    let columns = (side as f32 * step[0]) as usize + 2;
    let across: Vec<(usize, f32)> = (0..side)
        .map(|x| (x as f32 + 0.5) * step[0])
        .map(|at| (at as usize, ease(at - at.floor())))
        .collect();
    let mut row = vec![0.0; columns];
    let mut below: Vec<f32> = (0..columns).map(|x| white(seed, x as i32, 0)).collect();
    let mut above = vec![0.0; columns];
    let mut next = 0;
    for (y, line) in field.chunks_exact_mut(side.max(1)).enumerate() {
        let at = (y as f32 + 0.5) * step[1];
        while at as usize >= next {
            std::mem::swap(&mut above, &mut below);
            next += 1;
            for (x, value) in below.iter_mut().enumerate() {
                *value = white(seed, x as i32, next as i32);
            }
        }
        let t = ease(at - at.floor());
        for ((value, a), b) in row.iter_mut().zip(&above).zip(&below) {
            *value = (a + (b - a) * t) * weight;
        }
        for (value, &(cell, t)) in line.iter_mut().zip(&across) {
            *value += row[cell] + (row[cell + 1] - row[cell]) * t;
        }
    }
}

/// `3 t^2 - 2 t^3`, flat at 0 and 1.
pub(super) fn ease(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}
