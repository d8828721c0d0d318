//! Pretraining style: thin even lines over a ruled grid, light on dark or dark on light.

use super::super::canvas::Canvas;
use super::super::colour::{Palette, hsv, mix};
use super::super::dice::Dice;
use super::super::noise;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use super::stripe;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let hue = draws.range(0.0, 1.0);
    let (deep, pale) = (draws.range(0.25, 0.55), draws.range(0.0, 0.25));
    let dark = hsv(hue, draws.range(0.6, 1.0), deep);
    let light = hsv(hue + draws.range(-0.1, 0.1), pale, 1.0);
    let (ground, ink) = if draws.maybe(0.65) { (dark, light) } else { (light, dark) };
    let palette = Palette::two(ground, ink);
    let warp = Warp::new(grid, 0.0, 20.0, 0);
    let figure = scene.figure(grid, &warp, &palette, 4.0);
    let things = scene.clutter(grid, &warp, &palette, 1.0);
    let stain = noise::cloud(grid, [draws.range(20.0, 40.0); 2], 2, draws.next_u32());
    let (pitch, shift) = (draws.range(4.0, 9.0), draws.range(0.0, 9.0));
    let (ruled, tint) = (draws.range(0.08, 0.3), draws.range(0.0, 0.3));
    let (pen, faint) = (draws.range(0.3, 0.65), draws.range(0.1, 0.5));
    let dashed = draws.maybe(0.4);
    canvas.fill(|index, [x, y]| {
        let rule = stripe(x + shift, pitch).min(stripe(y + shift, pitch));
        let mut colour = mix(ground, ink, 0.06 * stain[index] + 0.06);
        colour = mix(colour, ink, ruled * grid.cover(rule - 0.15));
        colour = mix(colour, ink, faint * grid.cover(things.edge[index] - 0.3));
        colour = mix(colour, ink, tint * grid.cover(figure.outer[index]));
        // An offset outline, as tolerances are drawn.
        let second = grid.cover((figure.outer[index] - 2.6).abs() - 0.15);
        let second = if dashed && stripe(x + y, 4.0) < 1.0 { 0.5 * second } else { 0.0 };
        mix(colour, ink, grid.cover(figure.edge[index] - pen).max(second))
    });
}
