//! Pretraining style: raised from (or pressed into) a plate of one material.

use super::super::canvas::Canvas;
use super::super::colour::{Palette, grey, hsv, lift, scale};
use super::super::dice::Dice;
use super::super::noise;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use super::dot;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let palette = Palette::two(grey(1.0), grey(0.0));
    let bend = draws.range(0.1, 0.8);
    let warp = Warp::new(grid, bend, 14.0, draws.next_u32());
    let figure = scene.figure(grid, &warp, &palette, 1.0);
    let things = scene.clutter(grid, &warp, &palette, 1.0);
    let plate = hsv(draws.range(0.0, 1.0), draws.range(0.0, 0.5), draws.range(0.35, 0.75));
    let rough = noise::cloud(grid, [draws.range(2.0, 12.0); 2], 2, draws.next_u32());
    let (up, radius) = (draws.sign(), draws.range(2.0, 5.0));
    let (steep, grain) = (draws.range(0.6, 0.9), draws.range(0.05, 0.25));
    let low = draws.range(0.2, 0.6);
    canvas.fill(|index, _| {
        let mut tilt = [0.0, 0.0];
        for (raster, by) in [(&things, low), (&figure, 1.0)] {
            if raster.edge[index] < radius {
                let [x, y, _] = raster.normal(index, radius);
                tilt = [tilt[0] + x * by * steep * up, tilt[1] + y * by * steep * up];
            }
        }
        let up = (1.0 - tilt[0] * tilt[0] - tilt[1] * tilt[1]).max(0.1).sqrt();
        let lit = dot([tilt[0], tilt[1], up], scene.light);
        let groove = grid.cover(figure.edge[index] - 0.5);
        lift(scale(plate, 0.35 + lit + grain * rough[index] - 0.25 * groove), 0.15 * (lit - 0.7))
    });
    canvas.blur(0.3);
}
