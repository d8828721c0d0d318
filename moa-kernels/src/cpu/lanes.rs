//! Sums in interleaved lanes: vector code with one fixed order.

use super::Real;

/// Two of the widest vectors in `f32`, so that additions need not wait for each other.
const LANES: usize = 32;

/// All lanes, a power of two of them, joined by halves.
#[inline(always)]
pub fn total<T: Real, const N: usize>(mut lanes: [T; N], join: impl Fn(T, T) -> T) -> T {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = join(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Sum of `f` over a slice.
#[inline(always)]
pub fn lane_sum<T: Real>(row: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f(v);
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane += f(v);
    }
    total(lanes, |a, b| a + b)
}

/// Sum of `f` over the pairs of two slices of one length.
#[inline(always)]
pub fn pair_sum<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a, b);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += f(a, b);
    }
    total(lanes, |a, b| a + b)
}

/// Inner product of two slices of one length.
#[inline(always)]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    pair_sum(a, b, |a, b| a * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_summed_whole() {
        for len in [1, 2, 31, 32, 33, 95, 200] {
            let a: Vec<f64> = (0..len).map(|i| (i % 7) as f64 - 2.0).collect();
            let b: Vec<f64> = (0..len).map(|i| (i % 5) as f64).collect();
            let plain: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(dot(&a, &b), plain, "{len}");
            assert_eq!(lane_sum(&a, |v| v), a.iter().sum::<f64>(), "{len}");
        }
    }
}
