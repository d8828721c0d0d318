//! Where a random resized crop is taken.

use moa_core::image::Rect;
use moa_kernels::rng::Draws;

/// Which crops may be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CropRange {
    /// Smallest and largest share of the image's area.
    pub scale: [f64; 2],
    /// Smallest and largest width / height.
    pub ratio: [f64; 2],
}

impl CropRange {
    /// DomainBed: 0.7 to all of the area, 3:4 to 4:3.
    pub const DOMAINBED: Self = Self { scale: [0.7, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] };
}

/// Attempts before the centre is taken.
const TRIES: usize = 10;

/// Draws a crop of an image (torchvision's `RandomResizedCrop.get_params`):
/// area uniform, log of the ratio uniform, place uniform; after ten sizes that
/// do not fit, the largest centre crop of a permitted ratio.
pub fn random_resized_crop(
    range: &CropRange,
    height: usize,
    width: usize,
    draws: &mut Draws,
) -> Rect {
    let area = height as f64 * width as f64;
    let [low, high] = range.ratio.map(libm::log);
    for _ in 0..TRIES {
        let target = area * draws.uniform(range.scale[0], range.scale[1]);
        let ratio = libm::exp(draws.uniform(low, high));
        let w = (target * ratio).sqrt().round_ties_even() as usize;
        let h = (target / ratio).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            // Sides of decoded images are below 2^32.
            let top = draws.below((height - h + 1) as u32) as usize;
            let left = draws.below((width - w + 1) as u32) as usize;
            return Rect { top, left, height: h, width: w };
        }
    }
    center(range, height, width)
}

fn center(range: &CropRange, height: usize, width: usize) -> Rect {
    let [low, high] = range.ratio;
    let shape = width as f64 / height as f64;
    let side = |exact: f64| exact.round_ties_even() as usize;
    let (h, w) = if shape < low {
        (side(width as f64 / low).min(height), width)
    } else if shape > high {
        (height, side(height as f64 * high).min(width))
    } else {
        (height, width)
    };
    Rect { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moa_kernels::rng::{Key, Purpose};

    #[test]
    fn crops_lie_inside_and_keep_their_range() {
        let (height, width) = (227, 300);
        let mut smallest = f64::MAX;
        for index in 0..2000 {
            let mut draws = Key::new(1, Purpose::Augment, 0).draws(index);
            let r = random_resized_crop(&CropRange::DOMAINBED, height, width, &mut draws);
            assert!(r.top + r.height <= height && r.left + r.width <= width, "{r:?}");
            let share = (r.height * r.width) as f64 / (height * width) as f64;
            smallest = smallest.min(share);
            let ratio = r.width as f64 / r.height as f64;
            assert!((0.745..1.345).contains(&ratio) && share > 0.69, "{r:?}");
        }
        assert!(smallest < 0.72);
    }

    #[test]
    fn narrow_images_fall_back_to_the_centre() {
        let mut draws = Key::new(1, Purpose::Augment, 0).draws(0);
        let tall = random_resized_crop(&CropRange::DOMAINBED, 100, 10, &mut draws);
        assert_eq!(tall, Rect { top: 43, left: 0, height: 13, width: 10 });
        let wide = random_resized_crop(&CropRange::DOMAINBED, 10, 100, &mut draws);
        assert_eq!(wide, Rect { top: 0, left: 43, height: 10, width: 13 });
    }

    #[test]
    fn a_single_pixel_is_its_own_crop() {
        let mut draws = Key::new(1, Purpose::Augment, 0).draws(0);
        let crop = random_resized_crop(&CropRange::DOMAINBED, 1, 1, &mut draws);
        assert_eq!(crop, Rect::full(1, 1));
    }
}
