//! Slopes and normals of what was rasterised, for styles with light.

use super::plane::length;
use super::raster::{FAR, Raster};

impl Raster {
    /// Direction of steepest growth of a field at a pixel, per point.
    pub fn slope(&self, field: &[f32], index: usize) -> [f32; 2] {
        let (side, point) = (self.grid.side(), self.grid.point());
        // 32-bit division is the faster one.
        let (x, y) = (index as u32 % side as u32, index as u32 / side as u32);
        let here = field[index];
        let left = if x > 0 { here - field[index - 1] } else { FAR };
        let right = if x + 1 < side as u32 { field[index + 1] - here } else { FAR };
        let up = if y > 0 { here - field[index - side] } else { FAR };
        let down = if y + 1 < side as u32 { field[index + side] - here } else { FAR };
        [gentle(left, right) / point, gentle(up, down) / point]
    }

    /// The surface's unit normal `[x, y, towards the viewer]` when every piece
    /// bulges over `radius` points from its edge.
    pub fn normal(&self, index: usize, radius: f32) -> [f32; 3] {
        if self.depth[index] < -self.grid.point() {
            return [0.0, 0.0, 1.0];
        }
        let [x, y] = self.slope(&self.depth, index);
        let steep = (1.0 - self.depth[index] / radius).clamp(0.0, 1.0);
        // Where pieces meet the slope is that of a cliff; a normal is at most 1 long.
        let by = steep / length(x, y).max(1.0);
        let (x, y) = (-x * by, -y * by);
        [x, y, (1.0 - x * x - y * y).max(0.0).sqrt()]
    }
}

/// The mean of the differences to both sides, or the smaller one where the
/// other crosses the edge of a piece.
fn gentle(before: f32, after: f32) -> f32 {
    let (small, large) = if before.abs() < after.abs() { (before, after) } else { (after, before) };
    if large.abs() > 1.4 * small.abs() + 0.5 { small } else { (before + after) * 0.5 }
}
