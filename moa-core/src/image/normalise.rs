//! 8-bit pixels to normalised `[3, height, width]` numbers.

use super::Rgb;

/// `(value / 255 - mean) / std` per channel, as torchvision's `to_tensor` and
/// `normalize` compute it in f32, looked up for all 256 values.
#[derive(Clone, Debug)]
pub struct Normalise {
    table: [[f32; 256]; 3],
}

impl Normalise {
    /// For the channels' means and deviations (of values from 0 to 1).
    pub fn new(mean: [f32; 3], std: [f32; 3]) -> Self {
        let channel = |c: usize| std::array::from_fn(|v| (v as f32 / 255.0 - mean[c]) / std[c]);
        Self { table: [channel(0), channel(1), channel(2)] }
    }

    /// Fills `out`, of which the first `3 * height * width` are used: all of
    /// red, then green, then blue.
    pub fn apply_into(&self, image: &Rgb, out: &mut [f32]) {
        let pixels = image.data.as_chunks::<3>().0;
        let planes = out.chunks_exact_mut(pixels.len().max(1));
        for (channel, (plane, table)) in planes.zip(&self.table).enumerate() {
            for (value, pixel) in plane.iter_mut().zip(pixels) {
                *value = table[usize::from(pixel[channel])];
            }
        }
    }
}
