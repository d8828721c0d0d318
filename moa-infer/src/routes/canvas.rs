//! Rectangles and letters on pixels.

use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage};

/// Height and width of a letter.
pub const LETTER: u32 = 8;

/// An image that is being drawn.
pub struct Canvas(pub RgbImage);

impl Canvas {
    /// A white one.
    pub fn new(width: u32, height: u32) -> Self {
        Self(RgbImage::from_pixel(width, height, Rgb([255; 3])))
    }

    /// Mixes a colour into a rectangle, `share` of it.
    pub fn fill(&mut self, [x, y]: [u32; 2], [w, h]: [u32; 2], colour: [u8; 3], share: f32) {
        for (x, y) in (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))) {
            if let Some(pixel) = self.0.get_pixel_mut_checked(x, y) {
                let mix = |(old, new): (u8, u8)| {
                    (f32::from(old) * (1.0 - share) + f32::from(new) * share).round() as u8
                };
                pixel.0 = [0, 1, 2].map(|i| mix((pixel.0[i], colour[i])));
            }
        }
    }

    /// Writes a line of text with its upper left corner at `x`, `y`, each dot `scale` wide.
    /// What the font does not have is a box.
    pub fn text(&mut self, [x, y]: [u32; 2], text: &str, scale: u32) {
        for (place, letter) in (0..).zip(text.chars()) {
            let dots = BASIC_FONTS.get(letter).unwrap_or([0, 126, 66, 66, 66, 66, 126, 0]);
            for (row, bits) in (0..).zip(dots) {
                for col in (0..LETTER).filter(|col| bits >> col & 1 == 1) {
                    let at = [x + (place * LETTER + col) * scale, y + row * scale];
                    self.fill(at, [scale; 2], [0x1a; 3], 1.0);
                }
            }
        }
    }
}

/// Width of a line of text.
pub fn width(text: &str, scale: u32) -> u32 {
    text.chars().count() as u32 * LETTER * scale
}
