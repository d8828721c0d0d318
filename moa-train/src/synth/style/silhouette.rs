//! Pretraining style: one flat tone before a graded sky, or the reverse.

use super::super::canvas::Canvas;
use super::super::colour::{Palette, hsv, mix};
use super::super::dice::Dice;
use super::super::noise;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use super::step;
use libm::sincosf;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let dark = hsv(draws.range(0.0, 1.0), draws.range(0.0, 0.8), draws.range(0.0, 0.25));
    let from = hsv(draws.range(0.0, 1.0), draws.range(0.2, 0.8), draws.range(0.6, 1.0));
    let to = hsv(draws.range(0.0, 1.0), draws.range(0.1, 0.7), draws.range(0.65, 1.0));
    let lit = draws.maybe(0.3);
    let palette = if lit { Palette::two(dark, from) } else { Palette::two(from, dark) };
    let bend = draws.range(0.2, 1.0);
    let warp = Warp::new(grid, bend, 18.0, draws.next_u32());
    let figure = scene.figure(grid, &warp, &palette, 2.0);
    let things = scene.clutter(grid, &warp, &palette, 2.0);
    let sky =
        noise::cloud(grid, [draws.range(16.0, 40.0), draws.range(6.0, 16.0)], 3, draws.next_u32());
    let (sin, cos) = sincosf(draws.range(-3.1, 3.1));
    let (haze, soft) = (draws.range(0.1, 0.5), draws.range(0.5, 1.6));
    let seam = draws.range(0.25, 0.9);
    canvas.fill(|index, [x, y]| {
        let t = 0.5 + ((x - 32.0) * cos + (y - 32.0) * sin) / 64.0 + 0.4 * sky[index];
        let graded = mix(from, to, t.clamp(0.0, 1.0));
        let far = if lit { mix(dark, graded, 0.25) } else { graded };
        let near = if lit { graded } else { dark };
        let colour = mix(far, near, haze * step(soft, -soft, things.outer[index]));
        let own = mix(near, figure.colour[index], 0.7);
        let colour = mix(colour, own, grid.cover(figure.outer[index]));
        // Thin slits of light tell the pieces apart.
        let slit = grid.cover(figure.edge[index] - 0.3) * grid.cover(figure.outer[index] + 1.0);
        mix(colour, far, seam * slit)
    });
    canvas.grain(draws.next_u32(), draws.range(0.0, 0.04));
}
