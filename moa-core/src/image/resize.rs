//! Pillow's resize of 8-bit images, exact to the bit (`libImaging/Resample.c`).
//!
//! Weights have 22 fractional bits, and pixels are rounded to 8 bits between
//! the two passes. The order is always width, then height, as in all Pillow
//! releases before 13; newer ones swap it for some shapes.

use super::squeeze::{LANES, widths};
use super::taps::{FIX, Interpolation, Taps};
use super::{Rect, Rgb};
use moa_kernels::vectorise;

/// Rounds a weighted sum, which starts at one half, to a pixel value.
#[inline(always)]
pub(super) fn round(sum: i32) -> u8 {
    (sum >> FIX).clamp(0, 255) as u8
}

/// Where weighted sums start.
pub(super) const HALF: i32 = 1 << (FIX - 1);

/// Resizes a whole image to `height` x `width`.
pub fn resize(image: &Rgb, height: usize, width: usize, filter: Interpolation) -> Rgb {
    let source = Rect::full(image.height, image.width);
    resize_window(image, source, (height, width), Rect::full(height, width), filter)
}

/// Cuts `source` out of an image, resizes it to `size` (height, width) and cuts
/// `window` out of the result, computing only what is asked for. Pixels outside
/// `source` have no influence, as if it had been cut out first.
///
/// Rectangles are clipped to what exists.
pub fn resize_window(
    image: &Rgb,
    source: Rect,
    size: (usize, usize),
    window: Rect,
    filter: Interpolation,
) -> Rgb {
    let source = clip(source, image.height, image.width);
    let window = clip(window, size.0, size.1);
    let mut out = Rgb::black(window.width, window.height);
    if out.data.is_empty() || source.width == 0 || source.height == 0 {
        return out;
    }
    let down = Taps::new(source.height, size.0, window.top, window.height, filter);
    let across = Taps::new(source.width, size.1, window.left, window.width, filter);
    let first = down.firsts.iter().min().copied().unwrap_or(0);
    let end = down.firsts.iter().max().copied().unwrap_or(0) + down.count;

    let stride = window.width * 3;
    let mut middle = vec![0; (end - first).next_multiple_of(LANES) * stride];
    let rows = image.data.chunks_exact(image.width * 3).skip(source.top + first).take(end - first);
    let rows: Vec<&[u8]> = rows.map(|row| row.get(source.left * 3..).unwrap_or_default()).collect();
    vectorise!({
        widths(&rows, &across, &mut middle, stride);
        for ((top, weights), line) in down.lines().zip(out.data.chunks_exact_mut(stride)) {
            stack(middle.get((top - first) * stride..).unwrap_or_default(), weights, line);
        }
    });
    out
}

/// The height pass for one output line; `rows` are as long as the line.
#[inline(always)]
fn stack(rows: &[u8], weights: &[i32], line: &mut [u8]) {
    const WIDE: usize = 32;
    let stride = line.len();
    let (blocks, rest) = line.as_chunks_mut::<WIDE>();
    let done = blocks.len() * WIDE;
    for (at, block) in blocks.iter_mut().enumerate() {
        let mut sums = [HALF; WIDE];
        for (row, &weight) in rows.chunks_exact(stride).zip(weights) {
            let Some(values) = row.get(at * WIDE..).and_then(<[_]>::first_chunk::<WIDE>) else {
                continue;
            };
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += i32::from(value) * weight;
            }
        }
        for (to, &sum) in block.iter_mut().zip(&sums) {
            *to = round(sum);
        }
    }
    for (at, to) in rest.iter_mut().enumerate() {
        let values = rows.iter().skip(done + at).step_by(stride);
        let sum = values.zip(weights).map(|(&value, &weight)| i32::from(value) * weight);
        *to = round(sum.sum::<i32>() + HALF);
    }
}

fn clip(rect: Rect, height: usize, width: usize) -> Rect {
    let (top, left) = (rect.top.min(height), rect.left.min(width));
    let (height, width) = (rect.height.min(height - top), rect.width.min(width - left));
    Rect { top, left, height, width }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> Rgb {
        let data = (0..width * height * 3).map(|i| (i * 37 % 256) as u8).collect();
        Rgb { width, height, data }
    }

    /// `Image.new("L", (4, 1))` with 0, 10, 100, 255, resized by Pillow.
    #[test]
    fn numbers_of_pillow() {
        let data = [0, 10, 100, 255].iter().flat_map(|&v| [v; 3]).collect();
        let image = Rgb { width: 4, height: 1, data };
        let row = |width, filter| {
            let out = resize(&image, 1, width, filter);
            out.data.chunks(3).map(|p| p[0]).collect::<Vec<_>>()
        };
        assert_eq!(row(2, Interpolation::Bilinear), [19, 154]);
        assert_eq!(row(7, Interpolation::Bilinear), [0, 4, 9, 55, 111, 200, 255]);
        assert_eq!(row(3, Interpolation::Bicubic), [0, 50, 222]);
        assert_eq!(row(9, Interpolation::Bicubic), [0, 0, 0, 13, 46, 93, 167, 238, 255]);
    }

    #[test]
    fn the_same_size_is_a_copy() {
        let image = ramp(19, 23);
        for filter in [Interpolation::Bilinear, Interpolation::Bicubic] {
            assert_eq!(resize(&image, 23, 19, filter), image);
        }
    }

    #[test]
    fn a_window_is_a_part_of_the_whole() {
        let image = ramp(40, 31);
        let source = Rect { top: 3, left: 5, height: 20, width: 30 };
        let filter = Interpolation::Bicubic;
        let whole = resize_window(&image, source, (17, 44), Rect::full(17, 44), filter);
        let window = Rect { top: 2, left: 9, height: 11, width: 21 };
        let part = resize_window(&image, source, (17, 44), window, filter);
        for (y, row) in part.rows().enumerate() {
            let start = ((y + 2) * 44 + 9) * 3;
            assert_eq!(row, &whole.data[start..start + 63]);
        }
    }

    #[test]
    fn empty_and_outside() {
        let empty = Rgb::black(0, 0);
        assert_eq!(resize(&empty, 2, 2, Interpolation::Bilinear), Rgb::black(2, 2));
        assert_eq!(resize(&ramp(3, 3), 0, 2, Interpolation::Bilinear), Rgb::black(2, 0));
        let outside = Rect { top: 9, left: 9, height: 9, width: 9 };
        let full = Rect::full(4, 4);
        let out = resize_window(&ramp(3, 3), outside, (4, 4), full, Interpolation::Bicubic);
        assert_eq!(out, Rgb::black(4, 4));
    }
}
