//! Pretraining style: glowing tubes along the edges, on a dark wall.

use super::super::canvas::Canvas;
use super::super::colour::{Palette, hsv, mix, scale};
use super::super::dice::Dice;
use super::super::noise;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let palette = Palette::random(draws, [0.75, 1.0], [0.85, 1.0]);
    let bend = draws.range(0.1, 0.5);
    let warp = Warp::new(grid, bend, 20.0, draws.next_u32());
    let figure = scene.figure(grid, &warp, &palette, 12.0);
    let things = scene.clutter(grid, &warp, &palette, 8.0);
    let wall = hsv(draws.range(0.0, 1.0), draws.range(0.2, 0.8), draws.range(0.02, 0.2));
    let bricks = noise::cloud(grid, [draws.range(4.0, 16.0); 2], 2, draws.next_u32());
    let (tube, glow) = (draws.range(0.5, 0.9), draws.range(1.0, 2.4));
    let (dim, gas) = (draws.range(0.0, 0.45), draws.range(0.0, 0.35));
    let one = hsv(draws.range(0.0, 1.0), draws.range(0.7, 1.0), 1.0);
    let same = draws.range(0.2, 1.0);
    canvas.fill(|index, _| {
        let mut colour = scale(wall, 1.0 + 0.5 * bricks[index]);
        for (raster, power) in [(&things, dim), (&figure, 1.0)] {
            let edge = raster.edge[index];
            let light = mix(raster.colour[index], one, same);
            let near = edge / glow;
            let halo = (1.0 - edge / 12.0).max(0.0) / (1.0 + near * near);
            let inside = if raster.outer[index] < 0.0 { gas * power } else { 0.0 };
            let add = scale(light, halo * power + inside);
            colour = [0, 1, 2].map(|c| colour[c] + add[c] * (1.0 - 0.4 * colour[c]));
            let core = mix(light, [1.0; 3], 0.7);
            colour = mix(colour, core, grid.cover(edge - tube) * power);
        }
        colour
    });
}
