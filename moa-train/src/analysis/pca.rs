//! The two directions in which features differ most.

use super::vector::dot;

/// Each row's first two principal components. A component's sign makes its largest weight
/// positive, so that the same features have the same picture.
pub fn project(rows: &[Vec<f32>]) -> Vec<[f64; 2]> {
    let Some(dim) = rows.first().map(Vec::len) else { return Vec::new() };
    let n = rows.len() as f64;
    let mean: Vec<f64> =
        (0..dim).map(|c| rows.iter().map(|row| f64::from(row[c])).sum::<f64>() / n).collect();
    let centred: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| row.iter().zip(&mean).map(|(x, m)| f64::from(*x) - m).collect())
        .collect();
    let mut found: Vec<Vec<f64>> = Vec::new();
    for component in 0..2 {
        let direction = strongest(&centred, &found, component);
        found.push(direction);
    }
    centred.iter().map(|row| [dot(row, &found[0]), dot(row, &found[1])]).collect()
}

/// Power iteration, across what was found before.
fn strongest(rows: &[Vec<f64>], found: &[Vec<f64>], component: usize) -> Vec<f64> {
    let dim = rows.first().map_or(0, Vec::len);
    // No direction of real features is at right angles to all of these numbers.
    let mut v: Vec<f64> =
        (0..dim).map(|i| ((i + 1) as f64 * (component + 1) as f64).sin()).collect();
    for _ in 0..300 {
        for other in found {
            let along = dot(&v, other);
            v.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
        }
        let length = dot(&v, &v).sqrt().max(f64::MIN_POSITIVE);
        let mut next = vec![0.0; dim];
        for row in rows {
            let along = dot(row, &v) / length;
            next.iter_mut().zip(row).for_each(|(sum, x)| *sum += along * x);
        }
        let before = v.iter().map(|x| x / length).collect::<Vec<_>>();
        let size = dot(&next, &next).sqrt();
        if size == 0.0 {
            return vec![0.0; dim]; // all features are the same
        }
        v = next.into_iter().map(|x| x / size).collect();
        if 1.0 - dot(&v, &before).abs() < 1e-12 {
            break;
        }
    }
    for other in found {
        let along = dot(&v, other);
        v.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
    }
    let length = dot(&v, &v).sqrt().max(f64::MIN_POSITIVE);
    let largest = v.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
    v.into_iter().map(|x| x / length * largest.signum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretched_cloud() {
        // Long along (3, 4, 0) / 5, less so along z.
        let rows: Vec<Vec<f32>> = (0..40)
            .map(|i| {
                let (a, b) = ((i as f32 - 19.5) * 0.4, if i % 2 == 0 { 1.0 } else { -1.0 });
                vec![0.6 * a + 7.0, 0.8 * a - 2.0, b]
            })
            .collect();
        let found = project(&rows);
        for (i, [x, y]) in found.into_iter().enumerate() {
            let (a, b) = ((i as f64 - 19.5) * 0.4, if i % 2 == 0 { 1.0 } else { -1.0 });
            // The two are not quite independent.
            assert!((x - a).abs() < 0.1 && (y - b).abs() < 0.1, "{i}: {x} {y}");
        }
        assert_eq!(project(&[vec![1.0, 2.0], vec![1.0, 2.0]]), [[0.0; 2]; 2]);
        assert!(project(&[]).is_empty());
    }
}
