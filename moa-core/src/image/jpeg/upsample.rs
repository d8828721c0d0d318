//! Chroma at full size, as `jdsample.c` does it.
//!
//! Halved chroma is blended 3:1 with the neighbouring sample ("fancy"
//! upsampling), rounded up and down in turn; anything else is repeated.

use super::{header::Frame, picture::Plane};

/// How a component gets its full size.
#[derive(Clone, Copy)]
enum Method {
    Full,
    Wide,
    High,
    WideHigh,
    /// Repeat so often across and down.
    Repeat(usize, usize),
}

/// Makes full-size rows of one plane.
pub(super) struct Upsampler<'p> {
    plane: &'p Plane,
    method: Method,
    /// Column sums, or an upsampled row that is longer than the picture.
    sums: Vec<u16>,
    wide: Vec<u8>,
}

impl<'p> Upsampler<'p> {
    /// For component number `index`, whose samples are in `plane`.
    pub(super) fn new(frame: &Frame, index: usize, plane: &'p Plane) -> Self {
        let (h, v) = frame.components.get(index).map_or((1, 1), |c| (c.h, c.v));
        // libjpeg does not blend across in components narrower than 3.
        let method = match (frame.h_max / h, frame.v_max / v) {
            (1, 1) => Method::Full,
            (2, 1) if plane.width > 2 => Method::Wide,
            (2, 2) if plane.width > 2 => Method::WideHigh,
            (1, 2) => Method::High,
            (across, down) => Method::Repeat(across, down),
        };
        let across = frame.h_max / h;
        Self { plane, method, sums: vec![0; plane.width], wide: vec![0; plane.width * across] }
    }

    /// Row `y` of the picture; at least as long as the picture is wide.
    #[inline(always)]
    pub(super) fn row(&mut self, y: usize) -> &[u8] {
        // The nearer of two source rows, and the other one.
        let near = self.plane.row(y / 2);
        let upper = y.is_multiple_of(2);
        let far = self.plane.row(if upper { (y / 2).saturating_sub(1) } else { y / 2 + 1 });
        match self.method {
            Method::Full => return self.plane.row(y),
            Method::Wide => blend_wide(self.plane.row(y), &mut self.wide),
            Method::High => {
                let round = if upper { 1 } else { 2 };
                for ((out, &a), &b) in self.wide.iter_mut().zip(near).zip(far) {
                    *out = ((3 * u16::from(a) + u16::from(b) + round) >> 2) as u8;
                }
            }
            Method::WideHigh => {
                for ((sum, &a), &b) in self.sums.iter_mut().zip(near).zip(far) {
                    *sum = 3 * u16::from(a) + u16::from(b);
                }
                blend_sums(&self.sums, &mut self.wide);
            }
            Method::Repeat(across, down) => {
                let row = self.plane.row(y / down);
                for (out, &sample) in self.wide.chunks_exact_mut(across).zip(row) {
                    out.fill(sample);
                }
            }
        }
        &self.wide
    }
}

/// Doubles a row: each sample three quarters, its neighbour one quarter.
#[inline(always)]
fn blend_wide(row: &[u8], out: &mut [u8]) {
    let blend =
        |near: u8, far: u8, round: u16| ((3 * u16::from(near) + u16::from(far) + round) >> 2) as u8;
    let (Some(&first), Some(&last)) = (row.first(), row.last()) else { return };
    let Some((start, inner)) = out.split_first_mut() else { return };
    let Some((end, inner)) = inner.split_last_mut() else { return };
    (*start, *end) = (first, last);
    for (pair, out) in row.windows(2).zip(inner.chunks_exact_mut(2)) {
        out[0] = blend(pair[0], pair[1], 2);
        out[1] = blend(pair[1], pair[0], 1);
    }
}

/// [`blend_wide`] of column sums, which are four times too large.
#[inline(always)]
fn blend_sums(sums: &[u16], out: &mut [u8]) {
    let (Some(&first), Some(&last)) = (sums.first(), sums.last()) else { return };
    let Some((start, inner)) = out.split_first_mut() else { return };
    let Some((end, inner)) = inner.split_last_mut() else { return };
    *start = ((4 * first + 8) >> 4) as u8;
    *end = ((4 * last + 7) >> 4) as u8;
    for (pair, out) in sums.windows(2).zip(inner.chunks_exact_mut(2)) {
        out[0] = ((3 * pair[0] + pair[1] + 7) >> 4) as u8;
        out[1] = ((3 * pair[1] + pair[0] + 8) >> 4) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blends_and_keeps_the_ends() {
        let mut out = [0; 6];
        blend_wide(&[10, 20, 40], &mut out);
        assert_eq!(out, [10, 13, 17, 25, 35, 40]);
        blend_sums(&[40, 80, 160], &mut out);
        assert_eq!(out, [10, 12, 18, 25, 35, 40]);
    }
}
