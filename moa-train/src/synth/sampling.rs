//! Which pixels are looked at, and where they look.

use super::canvas::Grid;
use super::noise;
use super::plane::Bounds;

/// Where pixels look in the drawing: their own place, bent by smooth noise, as
/// an unsteady hand bends lines.
pub(super) struct Warp {
    /// Where each pixel looks, in points.
    pub xs: Vec<f32>,
    /// Likewise.
    pub ys: Vec<f32>,
    /// How far from its own place at most.
    pub strength: f32,
}

impl Warp {
    /// Bends by up to `strength` points in waves of about `wave` points.
    pub fn new(grid: Grid, strength: f32, wave: f32, seed: u32) -> Self {
        let mut xs = noise::smooth(grid, [wave; 2], seed);
        let mut ys = noise::smooth(grid, [wave; 2], seed ^ 0x5bd1_e995);
        for (index, (x, y)) in xs.iter_mut().zip(&mut ys).enumerate() {
            let at = grid.centre(index);
            (*x, *y) = (at[0] + *x * strength, at[1] + *y * strength);
        }
        Self { xs, ys, strength }
    }
}

/// A rectangle of pixels.
#[derive(Clone, Copy)]
pub(super) struct Window {
    low: [usize; 2],
    high: [usize; 2],
}

impl Window {
    /// The pixels that touch a box given in points.
    pub fn new(bounds: Bounds, grid: Grid) -> Self {
        // The cast takes what is below 0 to 0.
        let pixel = |v: f32| ((v / grid.point()) as usize).min(grid.side());
        Self { low: bounds.low.map(pixel), high: bounds.high.map(|v| pixel(v + grid.point())) }
    }

    /// Around both.
    pub fn join(self, other: Window) -> Window {
        Window {
            low: [self.low[0].min(other.low[0]), self.low[1].min(other.low[1])],
            high: [self.high[0].max(other.high[0]), self.high[1].max(other.high[1])],
        }
    }

    /// The part inside `outer`.
    pub fn within(self, outer: Window) -> Window {
        Window {
            low: [self.low[0].max(outer.low[0]), self.low[1].max(outer.low[1])],
            high: [self.high[0].min(outer.high[0]), self.high[1].min(outer.high[1])],
        }
    }

    /// The index range of every row; none when the window is empty.
    pub fn rows(self, grid: Grid) -> impl Iterator<Item = std::ops::Range<usize>> {
        let [left, right] = [self.low[0], self.high[0].max(self.low[0])];
        (self.low[1]..self.high[1]).map(move |y| y * grid.side() + left..y * grid.side() + right)
    }
}
