//! Crop windows and side lengths, with the rounding of torchvision.

use super::Rgb;

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
}

impl Rect {
    /// All of an image of this size.
    pub fn full(height: usize, width: usize) -> Self {
        Self { top: 0, left: 0, height, width }
    }
}

/// `(height, width)` after scaling the shorter side to `size`
/// (torchvision's `Resize(size)`: the longer side is cut, not rounded).
pub fn shorter_side(height: usize, width: usize, size: usize) -> (usize, usize) {
    let long = |long: usize, short: usize| ((size * long) as f64 / short as f64) as usize;
    if height <= width { (size, long(width, height)) } else { (long(height, width), size) }
}

/// Where a centre crop takes its pixels, and where in the result they go when
/// the image is smaller: the rest stays black (torchvision's `center_crop`).
/// Both windows have the same size.
pub fn center_window(image: (usize, usize), crop: (usize, usize)) -> (Rect, Rect) {
    // First row taken, first row written, rows.
    let along = |image: usize, crop: usize| {
        if crop <= image {
            let half = (image - crop) as f64 / 2.0;
            (half.round_ties_even() as usize, 0, crop)
        } else {
            (0, (crop - image) / 2, image)
        }
    };
    let (top, to_top, height) = along(image.0, crop.0);
    let (left, to_left, width) = along(image.1, crop.1);
    (Rect { top, left, height, width }, Rect { top: to_top, left: to_left, height, width })
}

/// The middle `height` x `width` pixels; black where the image is smaller.
pub fn center_crop(image: &Rgb, height: usize, width: usize) -> Rgb {
    let (from, to) = center_window((image.height, image.width), (height, width));
    let mut out = Rgb::black(width, height);
    let lines = out.data.chunks_exact_mut((width * 3).max(1)).skip(to.top).take(to.height);
    for (line, row) in lines.zip(image.rows().skip(from.top)) {
        let source = row.get(from.left * 3..(from.left + from.width) * 3);
        let target = line.get_mut(to.left * 3..(to.left + to.width) * 3);
        if let (Some(target), Some(source)) = (target, source) {
            target.copy_from_slice(source);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_to_even() {
        // Differences 1, 3, 5, 7: offsets 0.5, 1.5, 2.5, 3.5.
        let tops: Vec<usize> =
            [11, 13, 15, 17].iter().map(|&h| center_window((h, 10), (10, 10)).0.top).collect();
        assert_eq!(tops, [0, 2, 2, 4]);
    }

    #[test]
    fn the_longer_side_is_cut() {
        assert_eq!(shorter_side(61, 47, 35), (45, 35));
        assert_eq!(shorter_side(47, 61, 35), (35, 45));
        assert_eq!(shorter_side(50, 50, 32), (32, 32));
    }

    #[test]
    fn small_images_are_padded() {
        let image = Rgb { width: 1, height: 2, data: vec![9; 6] };
        let out = center_crop(&image, 3, 4);
        let bright: Vec<usize> =
            out.data.chunks(3).enumerate().filter(|(_, p)| p[0] == 9).map(|(i, _)| i).collect();
        // torchvision pads (4 - 1) / 2 left and (3 - 2) / 2 above.
        assert_eq!(bright, [1, 5]);
    }
}
