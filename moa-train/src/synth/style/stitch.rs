//! Pretraining style: cross-stitch, a coarse grid of crosses in a few colours.

use super::super::canvas::Canvas;
use super::super::colour::{Palette, hsv, mix, scale};
use super::super::dice::Dice;
use super::super::noise;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use super::dot;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let palette = Palette::random(draws, [0.2, 0.9], [0.3, 0.95]);
    let bend = draws.range(0.0, 0.5);
    let warp = Warp::new(grid, bend, 20.0, draws.next_u32());
    let figure = scene.figure(grid, &warp, &palette, 3.0);
    let things = scene.clutter(grid, &warp, &palette, 1.0);
    let thread = hsv(draws.range(0.0, 1.0), draws.range(0.2, 0.8), draws.range(0.05, 0.3));
    let pitch = [1.6, 2.0, 2.0, 2.4][draws.below(4) as usize];
    let (seed, uneven) = (draws.next_u32(), draws.range(0.03, 0.15));
    let (outlined, sewn) = (draws.maybe(0.6), draws.range(0.3, 0.8));
    let shaded = draws.range(0.0, 0.5);
    canvas.fill(|_, [x, y]| {
        let (column, row) = ((x / pitch).floor(), (y / pitch).floor());
        let (cx, cy) = ((column + 0.5) * pitch, (row + 0.5) * pitch);
        let cell = grid.at(cx, cy);
        let mut colour = palette.ground;
        if things.outer[cell] < 0.0 {
            colour = mix(colour, things.colour[cell], 0.6);
        }
        if figure.outer[cell] < 0.0 {
            let shade = dot(figure.normal(cell, 6.0), scene.light) < 0.4;
            colour = scale(figure.colour[cell], if shade { 1.0 - shaded } else { 1.0 });
        }
        // Around the outside only: threads inside would fill thin limbs.
        if outlined && figure.outer[cell] > 0.0 && figure.outer[cell] < pitch {
            colour = thread;
        }
        let tone = 1.0 + uneven * noise::white(seed, column as i32, row as i32);
        let (u, v) = ((x - cx).abs(), (y - cy).abs());
        // Between the arms of a cross the cloth shows, darker.
        let cross = 1.0 - 0.5 * sewn * (u - v).abs() / pitch;
        scale(colour, tone * cross)
    });
}
