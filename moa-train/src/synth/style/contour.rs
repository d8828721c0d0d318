//! Pretraining style: level lines of the distance, as on a map.

use super::super::canvas::Canvas;
use super::super::colour::{Palette, hsv, mix};
use super::super::dice::Dice;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use super::stripe;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let dark = hsv(draws.range(0.0, 1.0), draws.range(0.2, 0.9), draws.range(0.05, 0.4));
    let light = hsv(draws.range(0.0, 1.0), draws.range(0.1, 0.6), draws.range(0.7, 1.0));
    let (ground, ink) = if draws.maybe(0.5) { (dark, light) } else { (light, dark) };
    let palette = Palette::two(ground, ink);
    let bend = draws.range(0.3, 1.0);
    let warp = Warp::new(grid, bend, 14.0, draws.next_u32());
    let reach = draws.range(4.0, 12.0);
    let figure = scene.figure(grid, &warp, &palette, reach);
    let things = scene.clutter(grid, &warp, &palette, 1.5);
    let (pitch, pen) = (draws.range(2.4, 3.6), draws.range(0.25, 0.45));
    let (fill, faint) = (draws.range(0.0, 0.5), draws.range(0.1, 0.4));
    let inner = draws.range(0.2, 0.9);
    let bands = draws.range(0.0, 0.3);
    canvas.fill(|index, [x, y]| {
        let d = figure.outer[index];
        let inside = grid.cover(d);
        let mut colour = mix(ground, ink, faint * grid.cover(things.edge[index] - 0.4));
        let slope = 0.04 * (stripe(x + 0.4 * y, 24.0) / 12.0);
        colour = mix(colour, ink, slope + inside * fill);
        if d > 0.0 && d < reach {
            let fade = 1.0 - d / reach;
            let level = (d / pitch).floor();
            colour = mix(colour, ink, bands * fade * (level - 2.0 * (level * 0.5).floor()));
            colour = mix(colour, ink, fade * grid.cover(stripe(d, pitch) - pen));
        } else if d < 0.0 {
            let line = grid.cover(stripe(figure.depth[index], pitch * 0.8) - pen);
            colour = mix(colour, ink, inner * 0.6 * line);
        }
        mix(colour, ink, grid.cover(figure.edge[index] - pen * 1.8))
    });
}
