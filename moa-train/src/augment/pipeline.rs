//! Drawing and carrying out the whole transform.

use moa_core::image::{Interpolation, Rect, Rgb, resize_window};
use moa_kernels::rng::Draws;

use super::{ColourOp, CropRange, grayscale, random_resized_crop};

/// What may happen to a training image: crop, flip, colour jitter, grey.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augment {
    /// Which crops.
    pub crop: CropRange,
    /// Probability of a horizontal flip.
    pub flip: f64,
    /// Brightness, contrast and saturation factors are uniform in 1 plus or
    /// minus this.
    pub jitter: f64,
    /// Hue turns are uniform in plus or minus this.
    pub hue: f64,
    /// Probability of grey.
    pub grey: f64,
}

impl Augment {
    /// The transform of DomainBed (and of SWAD, MIRO and MoA).
    pub const DOMAINBED: Self =
        Self { crop: CropRange::DOMAINBED, flip: 0.5, jitter: 0.3, hue: 0.3, grey: 0.1 };

    /// Draws all chances for an image of this size.
    pub fn draw(&self, height: usize, width: usize, draws: &mut Draws) -> AugmentPlan {
        let crop = random_resized_crop(&self.crop, height, width, draws);
        let flip = draws.chance(self.flip);
        let mut colour = ColourOp::ALL.map(|op| {
            let factor = match op {
                ColourOp::Hue => draws.uniform(-self.hue, self.hue),
                _ => draws.uniform(1.0 - self.jitter, 1.0 + self.jitter),
            };
            (op, factor)
        });
        draws.shuffle(&mut colour);
        let grey = draws.chance(self.grey);
        AugmentPlan { crop, flip, colour, grey }
    }
}

/// What does happen to a training image.
#[derive(Clone, Debug, PartialEq)]
pub struct AugmentPlan {
    /// The part that becomes the whole.
    pub crop: Rect,
    /// Whether left and right are swapped.
    pub flip: bool,
    /// Colour changes and their factors, in order.
    pub colour: [(ColourOp, f64); 4],
    /// Whether all colour is removed.
    pub grey: bool,
}

impl AugmentPlan {
    /// The changed image, `height` x `width` (bilinear).
    pub fn apply(&self, image: &Rgb, height: usize, width: usize) -> Rgb {
        let window = Rect::full(height, width);
        let size = (height, width);
        let mut out = resize_window(image, self.crop, size, window, Interpolation::Bilinear);
        if self.flip {
            flip_horizontally(&mut out);
        }
        for (op, factor) in self.colour {
            op.apply(&mut out, factor);
        }
        if self.grey {
            grayscale(&mut out);
        }
        out
    }
}

/// Swaps left and right.
pub fn flip_horizontally(image: &mut Rgb) {
    let row = image.width * 3;
    for line in image.data.chunks_exact_mut(row.max(1)) {
        line.as_chunks_mut::<3>().0.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moa_kernels::rng::{Key, Purpose};

    #[test]
    fn plans_belong_to_their_image() {
        let plan = |index| {
            let mut draws = Key::new(3, Purpose::Augment, 9).draws(index);
            Augment::DOMAINBED.draw(227, 227, &mut draws)
        };
        assert_eq!(plan(4), plan(4));
        assert_ne!(plan(4), plan(5));
    }

    #[test]
    fn chances_have_their_rates() {
        let n = 4000;
        let (mut flips, mut greys, mut hue_first) = (0, 0, 0);
        for index in 0..n {
            let mut draws = Key::new(3, Purpose::Augment, 1).draws(index);
            let plan = Augment::DOMAINBED.draw(64, 64, &mut draws);
            flips += u64::from(plan.flip);
            greys += u64::from(plan.grey);
            hue_first += u64::from(plan.colour[0].0 == ColourOp::Hue);
            for (op, factor) in plan.colour {
                let middle = if op == ColourOp::Hue { 0.0 } else { 1.0 };
                assert!((factor - middle).abs() <= 0.3, "{plan:?}");
            }
        }
        let near = |count: u64, rate: f64| (count as f64 / n as f64 - rate).abs() < 0.03;
        assert!(near(flips, 0.5) && near(greys, 0.1) && near(hue_first, 0.25));
    }

    #[test]
    fn flipping_swaps_columns() {
        let mut image = Rgb { width: 2, height: 1, data: vec![1, 2, 3, 4, 5, 6] };
        flip_horizontally(&mut image);
        assert_eq!(image.data, [4, 5, 6, 1, 2, 3]);
    }
}
