//! The width pass of a resize: sixteen rows at once.

use super::resize::{HALF, round};
use super::simd::transpose16;
use super::taps::Taps;

/// Rows that the width pass handles at once.
pub(super) const LANES: usize = 16;

/// One value of [`LANES`] rows.
type Column = [u8; LANES];

/// The width pass: turns rows on their side, so that neighbours in memory are
/// mixed with the same weights, and back.
#[inline(always)]
pub(super) fn widths(rows: &[&[u8]], across: &Taps, middle: &mut [u8], stride: usize) {
    let start = across.firsts.iter().min().copied().unwrap_or(0);
    let end = across.firsts.iter().max().copied().unwrap_or(0) + across.count;
    let mut strip = vec![[0; LANES]; ((end - start) * 3).next_multiple_of(LANES)];
    let mut mixed = vec![[0; LANES]; stride.next_multiple_of(LANES)];
    for (rows, lines) in rows.chunks(LANES).zip(middle.chunks_exact_mut(LANES * stride)) {
        let mut blocks: [&[Column]; LANES] = [&[]; LANES];
        let mut rests: [&[u8]; LANES] = [&[]; LANES];
        for ((blocks, rest), row) in blocks.iter_mut().zip(&mut rests).zip(rows) {
            (*blocks, *rest) = row.get(start * 3..end * 3).unwrap_or_default().as_chunks();
        }
        for (at, block) in strip.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut square = [[0; LANES]; LANES];
            for i in 0..LANES {
                match blocks[i].get(at) {
                    Some(values) => square[i] = *values,
                    None => square[i].iter_mut().zip(rests[i]).for_each(|(to, &from)| *to = from),
                }
            }
            *block = transpose16(&square);
        }
        let pixels = strip.as_chunks::<3>().0;
        for ((first, weights), to) in across.lines().zip(mixed.as_chunks_mut::<3>().0) {
            let pixels = pixels.get(first - start..).unwrap_or_default();
            for (channel, to) in to.iter_mut().enumerate() {
                *to = blend(pixels, weights, channel);
            }
        }
        for (at, block) in mixed.as_chunks::<LANES>().0.iter().enumerate() {
            let square = transpose16(block);
            for (line, values) in lines.chunks_exact_mut(stride).zip(&square) {
                let rest = line.get_mut(at * LANES..).unwrap_or_default();
                match rest.first_chunk_mut() {
                    Some(to) => *to = *values,
                    None => rest.iter_mut().zip(values).for_each(|(to, &value)| *to = value),
                }
            }
        }
    }
}

/// One channel of a pixel of [`LANES`] rows.
#[inline(always)]
fn blend(pixels: &[[Column; 3]], weights: &[i32], channel: usize) -> Column {
    let mut sums = [HALF; LANES];
    for (pixel, &weight) in pixels.iter().zip(weights) {
        for (sum, &value) in sums.iter_mut().zip(&pixel[channel]) {
            *sum += i32::from(value) * weight;
        }
    }
    let mut out = [0; LANES];
    for (to, &sum) in out.iter_mut().zip(&sums) {
        *to = round(sum);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::taps::Interpolation;
    use super::*;

    #[test]
    fn as_value_by_value() {
        for (width, to, height) in [(1, 3, 1), (9, 5, 16), (40, 64, 17), (131, 40, 33)] {
            let data: Vec<u8> =
                (0..width * 3 * height).map(|i| ((i * i * 31) >> 3) as u8).collect();
            let rows: Vec<&[u8]> = data.chunks_exact(width * 3).collect();
            for (start, columns) in [(0, to), (to / 3, to / 2)] {
                let across = Taps::new(width, to, start, columns, Interpolation::Bicubic);
                let stride = columns * 3;
                let mut got = vec![0; height.next_multiple_of(LANES) * stride];
                widths(&rows, &across, &mut got, stride);
                for (row, line) in rows.iter().zip(got.chunks_exact(stride.max(1))) {
                    for (x, (first, weights)) in across.lines().enumerate() {
                        for c in 0..3 {
                            let value =
                                |(k, w): (usize, &i32)| i32::from(row[(first + k) * 3 + c]) * w;
                            let sum: i32 = weights.iter().enumerate().map(value).sum();
                            assert_eq!(line[x * 3 + c], round(sum + HALF), "{width} {to} {x}");
                        }
                    }
                }
            }
        }
    }
}
