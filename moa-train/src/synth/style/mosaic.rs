//! Pretraining style: irregular tiles of one colour each, with grout between.

use super::super::canvas::Canvas;
use super::super::colour::{Palette, grey, mix, scale};
use super::super::dice::Dice;
use super::super::noise;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let palette = Palette::random(draws, [0.4, 1.0], [0.4, 1.0]);
    let warp = Warp::new(grid, 0.0, 20.0, 0);
    let figure = scene.figure(grid, &warp, &palette, 1.5);
    let things = scene.clutter(grid, &warp, &palette, 1.0);
    let pitch = draws.range(2.3, 3.4);
    let grout = grey(if draws.maybe(0.5) { draws.range(0.0, 0.2) } else { draws.range(0.8, 1.0) });
    let (gap, uneven) = (draws.range(0.2, 0.45), draws.range(0.05, 0.2));
    let outline = draws.maybe(0.7);
    let tiles = Tiles::new(pitch, draws.next_u32());
    canvas.fill(|index, at| {
        let (first, gap_to_next) = tiles.nearest(at);
        let [cx, cy, tone] = first;
        let tile = grid.at(cx, cy);
        let colour = if figure.outer[tile] < 0.0 {
            figure.colour[tile]
        } else if things.outer[tile] < 0.0 {
            mix(palette.ground, things.colour[tile], 0.5)
        } else {
            palette.ground
        };
        let colour = scale(colour, 1.0 + uneven * tone);
        let joint = grid.cover(gap_to_next * 0.5 - gap);
        let lead = if outline { grid.cover(figure.edge[index] - 0.5) } else { 0.0 };
        mix(colour, grout, joint.max(lead))
    });
}

/// Jittered centres of tiles, `[x, y, tone]` with the tone in `[-1, 1]`.
struct Tiles {
    pitch: f32,
    columns: usize,
    centres: Vec<[f32; 3]>,
}

impl Tiles {
    /// A ring of tiles lies outside of the picture, so that every point in it
    /// has neighbours on all sides.
    fn new(pitch: f32, seed: u32) -> Self {
        let columns = (64.0 / pitch) as usize + 3;
        let centre = |n: usize| {
            let (row, column) = (n / columns, n % columns);
            let bits = noise::hash(seed, column as i32, row as i32);
            let jitter = |bits: u32| (bits & 255) as f32 * (0.8 / 255.0) - 0.9;
            let (x, y) = (column as f32 + jitter(bits), row as f32 + jitter(bits >> 8));
            [x * pitch, y * pitch, ((bits >> 16) & 255) as f32 / 127.5 - 1.0]
        };
        Self { pitch, columns, centres: (0..columns * columns).map(centre).collect() }
    }

    /// The nearest centre, and how much farther the second nearest is.
    fn nearest(&self, [x, y]: [f32; 2]) -> ([f32; 3], f32) {
        let (column, row) = ((x / self.pitch) as usize, (y / self.pitch) as usize);
        let (mut first, mut second, mut best) = (f32::MAX, f32::MAX, 0);
        for r in row..row + 3 {
            let start = r * self.columns + column;
            for (n, centre) in self.centres[start..start + 3].iter().enumerate() {
                let (dx, dy) = (x - centre[0], y - centre[1]);
                let d = dx * dx + dy * dy;
                second = second.min(d.max(first));
                best = if d < first { start + n } else { best };
                first = first.min(d);
            }
        }
        (self.centres[best], second.sqrt() - first.sqrt())
    }
}
