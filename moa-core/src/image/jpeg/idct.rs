//! The accurate integer inverse DCT (`jidctint.c`), exact to the bit.
//!
//! Products are written out on 16-bit inputs, as in the SIMD version of
//! libjpeg-turbo: the same integers as the factored form, but without overflow
//! for any input, and the compiler turns them into 16-bit vector products.

use super::super::simd::transpose8;

const BITS: u32 = 13;
/// Extra bits kept between the two passes.
const EXTRA: u32 = 2;

// Constants of the factored form, scaled by 2^13.
const F0_298: i32 = 2446;
const F0_390: i32 = 3196;
const F0_541: i32 = 4433;
const F0_765: i32 = 6270;
const F0_899: i32 = 7373;
const F1_175: i32 = 9633;
const F1_501: i32 = 12299;
const F1_847: i32 = 15137;
const F1_961: i32 = 16069;
const F2_053: i32 = 16819;
const F2_562: i32 = 20995;
const F3_072: i32 = 25172;

/// Weights of inputs 1, 3, 5, 7 in the four odd sums.
const ODD: [[i32; 4]; 4] = [
    [F1_501 - F0_899 - F0_390 + F1_175, F1_175, F1_175 - F0_390, F1_175 - F0_899],
    [F1_175, F3_072 - F2_562 - F1_961 + F1_175, F1_175 - F2_562, F1_175 - F1_961],
    [F1_175 - F0_390, F1_175 - F2_562, F2_053 - F2_562 - F0_390 + F1_175, F1_175],
    [F1_175 - F0_899, F1_175 - F1_961, F1_175, F0_298 - F0_899 - F1_961 + F1_175],
];

type Block = [[i16; 8]; 8];

/// One pass over eight columns at once; results are rounded off by `shift` bits.
#[inline(always)]
fn pass(x: &Block, shift: u32) -> [[i32; 8]; 8] {
    let mut out = [[0; 8]; 8];
    let half = 1 << (shift - 1);
    for i in 0..8 {
        let at = |row: usize| i32::from(x[row][i]);
        let high = at(2) * F0_541 + at(6) * (F0_541 - F1_847);
        let low = at(2) * (F0_541 + F0_765) + at(6) * F0_541;
        let (sum, difference) = ((at(0) + at(4)) << BITS, (at(0) - at(4)) << BITS);
        let even = [sum + low, difference + high, difference - high, sum - low];
        for (k, (even, w)) in even.into_iter().zip(ODD).enumerate() {
            let odd = at(1) * w[0] + at(3) * w[1] + at(5) * w[2] + at(7) * w[3];
            out[k][i] = (even + odd + half) >> shift;
            out[7 - k][i] = (even - odd + half) >> shift;
        }
    }
    out
}

/// Coefficients (natural order) and quantisation steps to 8 rows of 8 samples,
/// written to `out` with rows `stride` apart.
#[inline(always)]
pub(super) fn inverse(coefficients: &[i16; 64], steps: &[u16; 64], out: &mut [u8], stride: usize) {
    let mut x: Block = [[0; 8]; 8];
    for (i, row) in x.iter_mut().enumerate() {
        for (j, value) in row.iter_mut().enumerate() {
            *value = coefficients[i * 8 + j].wrapping_mul(steps[i * 8 + j] as i16);
        }
    }
    let columns = pass(&x, BITS - EXTRA);
    let mut turned: Block = [[0; 8]; 8];
    for (i, row) in turned.iter_mut().enumerate() {
        for (j, value) in row.iter_mut().enumerate() {
            *value = columns[j][i].clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        }
    }
    let rows = pass(&turned, BITS + EXTRA + 3);
    let mut samples = [[0; 16]; 4];
    for (j, row) in rows.iter().enumerate() {
        for (i, &value) in row.iter().enumerate() {
            samples[j / 2][j % 2 * 8 + i] = (value + 128).clamp(0, 255) as u8;
        }
    }
    let samples = transpose8(&samples);
    for (line, row) in out.chunks_mut(stride).zip(samples.as_flattened().as_chunks::<8>().0) {
        if let Some(line) = line.first_chunk_mut() {
            *line = *row;
        }
    }
}

/// [`inverse`] for a block with nothing but its first coefficient.
#[inline(always)]
pub(super) fn inverse_flat(first: i16, step: u16, out: &mut [u8], stride: usize) {
    let level = i32::from(first.wrapping_mul(step as i16));
    let sample = (((level << EXTRA) + (1 << (EXTRA + 2))) >> (EXTRA + 3)) + 128;
    for line in out.chunks_mut(stride).take(8) {
        line.iter_mut().take(8).for_each(|s| *s = sample.clamp(0, 255) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_blocks_agree() {
        for first in [-2000, -1024, -7, -4, -1, 0, 1, 3, 4, 5, 900, 1023] {
            let mut coefficients = [0; 64];
            coefficients[0] = first;
            let (mut a, mut b) = ([0; 64], [1; 64]);
            inverse(&coefficients, &[1; 64], &mut a, 8);
            inverse_flat(first, 1, &mut b, 8);
            assert_eq!(a, b, "{first}");
        }
    }

    #[test]
    fn close_to_the_real_transform() {
        let coefficients: [i16; 64] =
            std::array::from_fn(|i| if i % 5 == 0 { 90 - 3 * i as i16 } else { 0 });
        let mut got = [0; 64];
        inverse(&coefficients, &[1; 64], &mut got, 8);
        let scale = |k: usize| if k == 0 { 0.5f64.sqrt() } else { 1.0 };
        let wave = |x: usize, k: usize| {
            ((2 * x + 1) as f64 * k as f64 * std::f64::consts::PI / 16.0).cos() * scale(k)
        };
        for (i, &sample) in got.iter().enumerate() {
            let sum: f64 = (0..64)
                .map(|k| f64::from(coefficients[k]) * wave(i / 8, k / 8) * wave(i % 8, k % 8))
                .sum();
            assert!((sum / 4.0 + 128.0 - f64::from(sample)).abs() < 0.52, "{i}");
        }
    }

    #[test]
    fn extreme_values_do_not_overflow() {
        for value in [i16::MIN, i16::MAX] {
            inverse(&[value; 64], &[1; 64], &mut [0; 64], 8);
            inverse_flat(value, 1, &mut [0; 64], 8);
        }
    }
}
