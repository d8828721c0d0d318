//! The picture while it is painted.

use super::colour::{Colour, mix};
use super::noise;
use moa_core::image::Rgb;

/// A square raster, measured in points of 1/64 of its side: line widths in
/// points look alike at every size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    side: u32,
}

impl Grid {
    /// A raster of `side * side` pixels.
    pub fn new(side: u32) -> Self {
        Self { side }
    }

    /// Pixels in a row.
    pub fn side(self) -> usize {
        self.side as usize
    }

    /// Pixels in all.
    pub fn area(self) -> usize {
        self.side() * self.side()
    }

    /// The size of a pixel in points.
    pub fn point(self) -> f32 {
        64.0 / (self.side.max(1)) as f32
    }

    /// How much of a pixel at distance `d` (points) from an edge is covered.
    pub fn cover(self, d: f32) -> f32 {
        (0.5 - d / self.point()).clamp(0.0, 1.0)
    }

    /// Centre of the pixel with this index, in points.
    pub fn centre(self, index: usize) -> [f32; 2] {
        // 32-bit division is the faster one.
        let (index, side) = (index as u32, self.side.max(1));
        let (x, y) = (index % side, index / side);
        [(x as f32 + 0.5) * self.point(), (y as f32 + 0.5) * self.point()]
    }

    /// Index of the pixel at `(x, y)` points, the nearest one when outside.
    pub fn at(self, x: f32, y: f32) -> usize {
        let last = self.side().saturating_sub(1);
        let clip = |v: f32| ((v / self.point()).max(0.0) as usize).min(last);
        clip(y) * self.side() + clip(x)
    }
}

/// Colours of all pixels, row by row.
pub(super) struct Canvas {
    /// The raster.
    pub grid: Grid,
    /// `grid.area()` colours.
    pub pixels: Vec<Colour>,
}

impl Canvas {
    /// A canvas of one colour.
    pub fn new(grid: Grid) -> Self {
        Self { grid, pixels: vec![[0.0; 3]; grid.area()] }
    }

    /// Sets every pixel from its index and its centre in points.
    pub fn fill(&mut self, mut colour: impl FnMut(usize, [f32; 2]) -> Colour) {
        self.retouch(|index, at, _| colour(index, at));
    }

    /// Like [`Canvas::fill`], given the colour there is too.
    pub fn retouch(&mut self, mut colour: impl FnMut(usize, [f32; 2], Colour) -> Colour) {
        let (side, point) = (self.grid.side().max(1), self.grid.point());
        let mut index = 0;
        for (y, row) in self.pixels.chunks_exact_mut(side).enumerate() {
            let y = (y as f32 + 0.5) * point;
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = colour(index, [(x as f32 + 0.5) * point, y], *pixel);
                index += 1;
            }
        }
    }

    /// Lays `colour` over a pixel with opacity `alpha`.
    pub fn over(&mut self, index: usize, colour: Colour, alpha: f32) {
        if let Some(pixel) = self.pixels.get_mut(index) {
            *pixel = mix(*pixel, colour, alpha);
        }
    }

    /// Replaces `part` of every pixel by the 1-2-1 mean of its neighbours,
    /// first along rows, then along columns.
    pub fn blur(&mut self, part: f32) {
        let side = self.grid.side();
        if side < 3 {
            return;
        }
        for line in self.pixels.chunks_exact_mut(side) {
            let mut before = line[0];
            for x in 0..side {
                let (here, after) = (line[x], line[(x + 1).min(side - 1)]);
                line[x] = mix(here, mean(before, here, after), part);
                before = here;
            }
        }
        let mut before = self.pixels[..side].to_vec();
        for y in 0..side {
            let below = (y + 1).min(side - 1) * side;
            for (x, before) in before.iter_mut().enumerate() {
                let here = self.pixels[y * side + x];
                let after = self.pixels[below + x];
                self.pixels[y * side + x] = mix(here, mean(*before, here, after), part);
                *before = here;
            }
        }
    }

    /// Adds pixel noise of `strength`, the same to all channels.
    pub fn grain(&mut self, seed: u32, strength: f32) {
        for (index, pixel) in self.pixels.iter_mut().enumerate() {
            let add = noise::white(seed, index as i32, 0) * strength;
            *pixel = pixel.map(|v| v + add);
        }
    }

    /// Rounds to bytes.
    pub fn into_rgb(self) -> Rgb {
        let mut data = Vec::with_capacity(self.pixels.len() * 3);
        for pixel in self.pixels {
            data.extend(pixel.map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8));
        }
        Rgb { width: self.grid.side(), height: self.grid.side(), data }
    }
}

fn mean(a: Colour, b: Colour, c: Colour) -> Colour {
    [0, 1, 2].map(|i| 0.25 * a[i] + 0.5 * b[i] + 0.25 * c[i])
}
