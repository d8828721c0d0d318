//! Colour changes in place, equal to torchvision's on Pillow images.

use moa_core::image::Rgb;

/// A step of colour jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourOp {
    /// [`adjust_brightness`].
    Brightness,
    /// [`adjust_contrast`].
    Contrast,
    /// [`adjust_saturation`].
    Saturation,
    /// [`adjust_hue`].
    Hue,
}

impl ColourOp {
    /// The four steps, in torchvision's numbering.
    pub const ALL: [Self; 4] = [Self::Brightness, Self::Contrast, Self::Saturation, Self::Hue];

    /// Changes an image; 1 (for hue 0) means no change.
    pub fn apply(self, image: &mut Rgb, factor: f64) {
        match self {
            Self::Brightness => adjust_brightness(image, factor),
            Self::Contrast => adjust_contrast(image, factor),
            Self::Saturation => adjust_saturation(image, factor),
            Self::Hue => adjust_hue(image, factor),
        }
    }
}

/// Brightness as in `convert("L")`: the weights are those of ITU-R 601.
#[inline(always)]
fn luma([r, g, b]: [u8; 3]) -> u8 {
    let sum = u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471;
    ((sum + 0x8000) >> 16) as u8
}

/// `Image.blend`: f32, cut (not rounded) to 8 bits.
#[inline(always)]
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    (from + factor * (to - from)) as u8
}

/// Blends every value with the same one, by table.
fn blend_all(image: &mut Rgb, from: u8, factor: f32) {
    let table: [u8; 256] = std::array::from_fn(|to| blend(from, to as u8, factor));
    image.data.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
}

/// Blends with black (`adjust_brightness`).
pub fn adjust_brightness(image: &mut Rgb, factor: f64) {
    blend_all(image, 0, factor as f32);
}

/// Blends with the mean grey of the image (`adjust_contrast`).
pub fn adjust_contrast(image: &mut Rgb, factor: f64) {
    let pixels = image.data.as_chunks::<3>().0;
    let sum: u64 = pixels.iter().map(|&p| u64::from(luma(p))).sum();
    let mean = sum as f64 / pixels.len().max(1) as f64;
    blend_all(image, (mean + 0.5) as u8, factor as f32);
}

/// Blends with the grey of each pixel (`adjust_saturation`).
pub fn adjust_saturation(image: &mut Rgb, factor: f64) {
    let factor = factor as f32;
    for pixel in image.data.as_chunks_mut::<3>().0 {
        let grey = luma(*pixel);
        *pixel = pixel.map(|v| blend(grey, v, factor));
    }
}

/// Makes all channels grey (`rgb_to_grayscale` with three channels).
pub fn grayscale(image: &mut Rgb) {
    for pixel in image.data.as_chunks_mut::<3>().0 {
        *pixel = [luma(*pixel); 3];
    }
}

/// Turns the colour circle by `factor` (-0.5 to 0.5; `adjust_hue`). Goes
/// through 8-bit HSV, so even 0 changes pixels a little.
pub fn adjust_hue(image: &mut Rgb, factor: f64) {
    let shift = (factor * 255.0) as i32 as u8;
    for pixel in image.data.as_chunks_mut::<3>().0 {
        let [h, s, v] = rgb_to_hsv(*pixel);
        *pixel = hsv_to_rgb([h.wrapping_add(shift), s, v]);
    }
}

/// `convert("HSV")`, with Pillow's mixture of f32 and f64.
///
/// Written without branches: neighbouring pixels often take different ones.
#[inline(always)]
pub fn rgb_to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (top, low) = (r.max(g).max(b), r.min(g).min(b));
    let spread = f32::from((top - low).max(1));
    let (base, plus, minus) = if r == top {
        (0.0, b, g)
    } else if g == top {
        (2.0, r, b)
    } else {
        (4.0, g, r)
    };
    let part = |v: u8| f64::from(f32::from(top - v) / spread);
    let sixths = (base + part(plus) - part(minus)) as f32;
    let turn = f64::from(sixths) / 6.0 + 1.0;
    // The exact remainder of a division by 1, as the value is below 2.
    let h = (if turn >= 1.0 { turn - 1.0 } else { turn }) as f32;
    let s = f32::from(top - low) / f32::from(top.max(1));
    [(f64::from(h) * 255.0) as u8, (f64::from(s) * 255.0) as u8, top]
}

/// `convert("RGB")` of an HSV image.
#[inline(always)]
pub fn hsv_to_rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
    let sixths = f64::from(h) * 6.0 / 255.0;
    let sector = sixths as u8;
    let f = (sixths - f64::from(sector)) as f32;
    let s = f32::from(s) / 255.0;
    // Halves round up; the value is never negative.
    let faded = |share: f64| (f64::from(v) * (1.0 - share) + 0.5) as u8;
    let falling = f64::from(s * f);
    let rising = f64::from(s) * (1.0 - f64::from(f));
    let low = faded(f64::from(s));
    let middle = faded(if sector % 2 == 1 { falling } else { rising });
    // Sector 6 is the last point of the circle, which is also the first.
    const PLACES: [[usize; 3]; 7] =
        [[0, 1, 2], [1, 0, 2], [2, 0, 1], [2, 1, 0], [1, 2, 0], [0, 2, 1], [0, 1, 2]];
    let values = [v, middle, low, 0];
    PLACES[usize::from(sector.min(6))].map(|place| values[place & 3])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(rgb: [u8; 3]) -> Rgb {
        Rgb { width: 1, height: 1, data: rgb.to_vec() }
    }

    /// Values of Pillow next to a rounding boundary.
    #[test]
    fn hue_is_rounded_as_in_pillow() {
        assert_eq!(hsv_to_rgb([201, 199, 206]), [163, 45, 206]);
        assert_eq!(hsv_to_rgb([224, 206, 199]), [199, 38, 156]);
        assert_eq!(hsv_to_rgb([255, 255, 9]), [9, 0, 0]);
        assert_eq!(rgb_to_hsv([0, 0, 0]), [0, 0, 0]);
        assert_eq!(rgb_to_hsv([255, 0, 1]), [254, 255, 255]);
    }

    #[test]
    fn grey_has_no_hue() {
        for v in 0..=255 {
            assert_eq!(rgb_to_hsv([v; 3]), [0, 0, v]);
            assert_eq!(hsv_to_rgb([77, 0, v]), [v; 3]);
        }
    }

    #[test]
    fn factor_one_changes_nothing() {
        for op in [ColourOp::Brightness, ColourOp::Contrast, ColourOp::Saturation] {
            let mut image = pixel([9, 130, 255]);
            op.apply(&mut image, 1.0);
            assert_eq!(image, pixel([9, 130, 255]), "{op:?}");
        }
    }

    #[test]
    fn results_are_cut_not_rounded() {
        let mut image = pixel([3, 200, 255]);
        adjust_brightness(&mut image, 1.3);
        assert_eq!(image.data, [3, 255, 255]);
        adjust_saturation(&mut image, 0.0);
        assert_eq!(image.data, [180; 3]);
    }
}
