//! Pretraining style: broken chalk lines and smudged fillings on a blackboard.

use super::super::canvas::Canvas;
use super::super::colour::{Palette, hsv, mix, scale};
use super::super::dice::Dice;
use super::super::noise;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use super::stripe;
use libm::sincosf;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let palette = Palette::random(draws, [0.0, 0.5], [0.85, 1.0]);
    let bend = draws.range(0.5, 1.3);
    let warp = Warp::new(grid, bend, 12.0, draws.next_u32());
    let figure = scene.figure(grid, &warp, &palette, 2.0);
    let things = scene.clutter(grid, &warp, &palette, 2.0);
    let board = hsv(draws.range(0.2, 0.7), draws.range(0.0, 0.6), draws.range(0.1, 0.35));
    let wiped = noise::cloud(grid, [draws.range(16.0, 40.0), 8.0], 3, draws.next_u32());
    let dust = draws.next_u32();
    let (pen, fill) = (draws.range(0.55, 1.1), draws.range(0.0, 0.6));
    let (sin, cos) = sincosf(draws.range(0.0, 3.1));
    let (pitch, faint) = (draws.range(1.8, 3.5), draws.range(0.1, 0.5));
    let white = draws.range(0.3, 1.0);
    canvas.fill(|index, [x, y]| {
        let rough = 0.5 + 0.5 * noise::white(dust, index as i32, 0);
        let mut colour = scale(board, 1.0 + 0.35 * wiped[index]);
        for (raster, strength) in [(&things, faint), (&figure, 1.0)] {
            let chalk = mix(raster.colour[index], [1.0; 3], white);
            let inside = grid.cover(raster.outer[index]);
            let rub = 0.25 + grid.cover(stripe(x * cos + y * sin, pitch) - pitch * 0.25);
            colour = mix(colour, chalk, inside * fill * strength * rub * (0.3 + 0.7 * rough));
            let line = grid.cover(raster.edge[index] - pen) * (0.45 + 0.55 * rough);
            colour = mix(colour, chalk, line * strength);
        }
        colour
    });
}
