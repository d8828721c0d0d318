//! Position tables for other image sizes.

use serde::{Deserialize, Serialize};

/// The bicubic filter that a library resamples position tables with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PosResample {
    /// PyTorch `F.interpolate(mode="bicubic", antialias=True, align_corners=False)`:
    /// a = -0.5, also when enlarging (timm, open_clip, transformers'
    /// `Dinov2WithRegisters`).
    TimmAntialias,
    /// The same without `antialias`: a = -0.75, borders repeated (transformers' CLIP,
    /// ViT and Dinov2).
    HfBicubic,
}

/// Resamples the patch rows of a position table.
///
/// # Shapes
/// `table` is `[old.0 * old.1, dim]`, the result `[new.0 * new.1, dim]`, rows of
/// the grid first. `None` if `table` has another length or a side is 0. Equal
/// grids give the table itself; otherwise sums are in `f64`.
pub fn resample(
    table: &[f32],
    old: (usize, usize),
    new: (usize, usize),
    dim: usize,
    rule: PosResample,
) -> Option<Vec<f32>> {
    let wanted = old.0.checked_mul(old.1)?.checked_mul(dim)?;
    if [old.0, old.1, new.0, new.1, dim].contains(&0) || table.len() != wanted {
        return None;
    }
    if old == new {
        return Some(table.to_vec());
    }
    let (down, across) = (weights(old.0, new.0, rule), weights(old.1, new.1, rule));
    let rows: Vec<&[f32]> = table.chunks_exact(old.1 * dim).collect();
    let mut out = Vec::with_capacity(new.0 * new.1 * dim);
    let mut line = vec![0f64; old.1 * dim];
    let mut cell = vec![0f64; dim];
    for taps in &down {
        line.fill(0.0);
        for &(row, weight) in taps {
            add(&mut line, rows.get(row)?.iter().map(|&v| f64::from(v)), weight);
        }
        for taps in &across {
            cell.fill(0.0);
            for &(column, weight) in taps {
                add(&mut cell, line.get(column * dim..)?.iter().copied(), weight);
            }
            out.extend(cell.iter().map(|&v| v as f32));
        }
    }
    Some(out)
}

fn add(sum: &mut [f64], values: impl Iterator<Item = f64>, weight: f64) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += weight * value;
    }
}

/// Keys' cubic convolution kernel.
fn cubic(a: f64, x: f64) -> f64 {
    let x = x.abs();
    match x {
        _ if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        _ if x < 2.0 => a * (((x - 5.0) * x + 8.0) * x - 4.0),
        _ => 0.0,
    }
}

/// For each of `new` positions the old positions that it is a sum of.
fn weights(old: usize, new: usize, rule: PosResample) -> Vec<Vec<(usize, f64)>> {
    let scale = old as f64 / new as f64;
    let one = |index: usize| match rule {
        PosResample::TimmAntialias => antialiased(scale * (index as f64 + 0.5), scale, old),
        PosResample::HfBicubic => {
            let at = scale * (index as f64 + 0.5) - 0.5;
            let last = old as i64 - 1;
            let tap = |k: i64| {
                let position = at.floor() as i64 + k;
                (position.clamp(0, last) as usize, cubic(-0.75, at - position as f64))
            };
            (-1..=2).map(tap).collect()
        }
    };
    (0..new).map(one).collect()
}

/// Taps of ATen's `_upsample_bicubic2d_aa`, cut at the borders and scaled to sum 1.
fn antialiased(center: f64, scale: f64, old: usize) -> Vec<(usize, f64)> {
    let stretch = scale.max(1.0);
    let first = (center - 2.0 * stretch + 0.5).max(0.0) as usize;
    let end = ((center + 2.0 * stretch + 0.5) as usize).min(old);
    let weight = |k: usize| cubic(-0.5, (k as f64 - center + 0.5) / stretch);
    let sum: f64 = (first..end).map(weight).sum();
    (first..end).map(|k| (k, weight(k) / sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use PosResample::{HfBicubic, TimmAntialias};

    /// Straight from the definition: every old cell, without separating rows and columns.
    fn reference(
        table: &[f32],
        old: (usize, usize),
        new: (usize, usize),
        rule: PosResample,
    ) -> Vec<f64> {
        let weight = |at: f64, cell: i64, scale: f64| match rule {
            TimmAntialias => cubic(-0.5, (cell as f64 + 0.5 - at) / scale.max(1.0)),
            HfBicubic => cubic(-0.75, cell as f64 + 0.5 - at),
        };
        let (rows, cols) = (old.0 as i64, old.1 as i64);
        let scales = (old.0 as f64 / new.0 as f64, old.1 as f64 / new.1 as f64);
        let mut out = vec![];
        for (i, j) in (0..new.0).flat_map(|i| (0..new.1).map(move |j| (i, j))) {
            let at = ((i as f64 + 0.5) * scales.0, (j as f64 + 0.5) * scales.1);
            let (mut sum, mut total) = (0.0, 0.0);
            for (r, c) in (-9..rows + 9).flat_map(|r| (-9..cols + 9).map(move |c| (r, c))) {
                let inside = (0..rows).contains(&r) && (0..cols).contains(&c);
                if rule == TimmAntialias && !inside {
                    continue;
                }
                let weight = weight(at.0, r, scales.0) * weight(at.1, c, scales.1);
                let cell = r.clamp(0, rows - 1) * cols + c.clamp(0, cols - 1);
                sum += weight * f64::from(table[cell as usize]);
                total += weight;
            }
            out.push(sum / total);
        }
        out
    }

    #[test]
    fn both_rules_match_their_definition() {
        let old = (5, 4);
        let table: Vec<f32> = (0..20).map(|i| ((i * 37 % 23) as f32 - 11.0) / 7.0).collect();
        for rule in [TimmAntialias, HfBicubic] {
            for new in [(5, 4), (2, 3), (3, 7), (9, 8), (1, 1), (5, 2)] {
                let found = resample(&table, old, new, 1, rule).unwrap();
                let wanted = reference(&table, old, new, rule);
                assert_eq!(found.len(), wanted.len());
                for (a, b) in found.iter().zip(&wanted) {
                    assert!((f64::from(*a) - b).abs() < 1e-6, "{rule:?} {new:?}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn channels_stay_apart_and_lengths_are_checked() {
        let single: Vec<f32> = (0..6).map(|v| (v * v) as f32).collect();
        let double: Vec<f32> = single.iter().flat_map(|&v| [v, -v]).collect();
        let one = resample(&single, (2, 3), (4, 5), 1, TimmAntialias).unwrap();
        let two = resample(&double, (2, 3), (4, 5), 2, TimmAntialias).unwrap();
        let wanted: Vec<f32> = one.iter().flat_map(|&v| [v, -v]).collect();
        assert_eq!(two, wanted);
        assert_eq!(resample(&single, (2, 2), (4, 5), 1, HfBicubic), None);
        assert_eq!(resample(&single, (2, 3), (0, 5), 1, HfBicubic), None);
    }
}
