//! Samples to RGB: the conversions of `jdcolor.c` and Pillow's `cmyk2rgb`.

use super::super::Rgb;
use super::{
    header::{Frame, Tables},
    picture::Picture,
    upsample::Upsampler,
};
use moa_kernels::vectorise;

/// What the components of a file mean.
#[derive(Clone, Copy)]
pub(super) enum Colour {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

impl Colour {
    /// The guess of libjpeg (`default_decompress_parms`).
    pub(super) fn of(frame: &Frame, tables: &Tables) -> Self {
        let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
        match (ids.as_slice(), tables.adobe) {
            ([_], _) => Self::Grey,
            ([_, _, _], _) if tables.jfif => Self::YCbCr,
            ([_, _, _], Some(0)) => Self::Rgb,
            ([b'R', b'G', b'B'], None) => Self::Rgb,
            ([_, _, _], _) => Self::YCbCr,
            (_, None | Some(0)) => Self::Cmyk,
            _ => Self::Ycck,
        }
    }
}

/// `YCbCr` to RGB with 16 fractional bits, rounded as libjpeg's tables are.
#[inline(always)]
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    [
        y + ((91881 * cr + HALF) >> 16),
        y + ((-22554 * cb - 46802 * cr + HALF) >> 16),
        y + ((116130 * cb + HALF) >> 16),
    ]
    .map(|v| v.clamp(0, 255) as u8)
}

/// [`rgb`] for a row, by blocks of which each loop is simple enough for vectors.
#[inline(always)]
fn rgb_row([y, cb, cr]: [&[u8]; 3], pixels: &mut [[u8; 3]]) {
    const WIDE: usize = 64;
    let blocks = y.chunks(WIDE).zip(cb.chunks(WIDE)).zip(cr.chunks(WIDE));
    for (((y, cb), cr), pixels) in blocks.zip(pixels.chunks_mut(WIDE)) {
        let mut planes = [[0; WIDE]; 3];
        let [r, g, b] = &mut planes;
        let out = r.iter_mut().zip(g.iter_mut()).zip(b.iter_mut());
        for (((r, g), b), ((&y, &cb), &cr)) in out.zip(y.iter().zip(cb).zip(cr)) {
            [*r, *g, *b] = rgb(y, cb, cr);
        }
        for (((pixel, &r), &g), &b) in pixels.iter_mut().zip(&*r).zip(&*g).zip(&*b) {
            pixel[0] = r;
            pixel[1] = g;
            pixel[2] = b;
        }
    }
}

/// Inks to RGB. Files store them inverted (the Adobe convention, which Pillow
/// assumes for all), so 255 is no ink.
fn without_ink(ink: [u8; 3], black: u8) -> [u8; 3] {
    let light = i32::from(black);
    ink.map(|ink| {
        let product = (255 - i32::from(ink)) * light + 128;
        (light - (((product >> 8) + product) >> 8)).clamp(0, 255) as u8
    })
}

/// Upsamples and converts the whole picture.
pub(super) fn to_rgb(picture: &Picture, colour: Colour) -> Rgb {
    vectorise!(convert(picture, colour))
}

#[inline(always)]
fn convert(picture: &Picture, colour: Colour) -> Rgb {
    let frame = &picture.frame;
    let mut out = Rgb::black(frame.width, frame.height);
    let planes = picture.planes.iter().enumerate();
    let mut planes: Vec<_> = planes.map(|(i, plane)| Upsampler::new(frame, i, plane)).collect();
    for (y, line) in out.data.chunks_exact_mut(frame.width * 3).enumerate() {
        let pixels = line.as_chunks_mut::<3>().0;
        match planes.as_mut_slice() {
            [grey] => {
                for (pixel, &v) in pixels.iter_mut().zip(grey.row(y)) {
                    *pixel = [v; 3];
                }
            }
            [a, b, c, rest @ ..] => {
                let (a, b, c) = (a.row(y), b.row(y), c.row(y));
                let three = a.iter().zip(b).zip(c);
                let black = rest.first_mut().map_or(&[] as &[u8], |k| k.row(y));
                let each = pixels.iter_mut().zip(three);
                match colour {
                    Colour::YCbCr => rgb_row([a, b, c], pixels),
                    Colour::Cmyk => each.zip(black).for_each(|((pixel, ((&c, &m), &y)), &k)| {
                        *pixel = without_ink([c, m, y], k);
                    }),
                    Colour::Ycck => each.zip(black).for_each(|((pixel, ((&y, &cb), &cr)), &k)| {
                        *pixel = without_ink(rgb(y, cb, cr).map(|v| 255 - v), k);
                    }),
                    Colour::Rgb | Colour::Grey => {
                        each.for_each(|(pixel, ((&r, &g), &b))| *pixel = [r, g, b]);
                    }
                }
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_converted_pixel_by_pixel() {
        for width in [1, 63, 64, 200] {
            let plane = |step: usize| -> Vec<u8> { (0..width).map(|x| (x * step) as u8).collect() };
            let (y, cb, cr) = (plane(7), plane(31), plane(113));
            let mut pixels = vec![[0; 3]; width];
            rgb_row([&y, &cb, &cr], &mut pixels);
            for (x, pixel) in pixels.iter().enumerate() {
                assert_eq!(*pixel, rgb(y[x], cb[x], cr[x]));
            }
        }
    }
}
