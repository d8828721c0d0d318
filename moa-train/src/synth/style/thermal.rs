//! Pretraining style: false colours of a temperature that is highest deep
//! inside the figure (or lowest).

use super::super::canvas::Canvas;
use super::super::colour::{Colour, Palette, grey, hsv, mix};
use super::super::dice::Dice;
use super::super::noise;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let palette = Palette::two(grey(0.0), grey(1.0));
    let bend = draws.range(0.3, 1.0);
    let warp = Warp::new(grid, bend, 16.0, draws.next_u32());
    let figure = scene.figure(grid, &warp, &palette, 8.5);
    let things = scene.clutter(grid, &warp, &palette, 1.0);
    let air = noise::cloud(grid, [draws.range(12.0, 30.0); 2], 3, draws.next_u32());
    let (hue, turn) = (draws.range(0.0, 1.0), draws.range(0.3, 0.8) * draws.sign());
    let ramp: [Colour; 5] = std::array::from_fn(|n| {
        let t = n as f32 / 4.0;
        hsv(hue + turn * t, 1.0 - 0.6 * t * t, 0.15 + 0.85 * t)
    });
    let cold = draws.maybe(0.3);
    let (base, rise) = (draws.range(0.3, 0.5), draws.range(3.0, 7.0));
    let (drift, halo) = (draws.range(0.1, 0.3), draws.range(0.1, 0.25));
    let other = draws.range(0.1, 0.35);
    canvas.fill(|index, _| {
        let d = figure.outer[index];
        let mut heat = 0.08 + drift * (0.5 + 0.5 * air[index]);
        heat += other * grid.cover(things.outer[index]);
        heat += halo * (1.0 - d / 8.0).clamp(0.0, 1.0);
        let inside = base + 0.4 * (figure.depth[index] / rise).min(1.0) + 0.1 * air[index];
        // Details and inner edges are cooler.
        let inside = inside * (0.55 + 0.45 * figure.colour[index][0]);
        let inside = inside + 0.3 - 0.25 * grid.cover(figure.edge[index] - 0.4);
        heat += (inside - heat) * grid.cover(d);
        let heat = heat.clamp(0.0, 1.0);
        let at = 4.0 * if cold { 1.0 - heat } else { heat };
        let n = (at as usize).min(3);
        mix(ramp[n], ramp[n + 1], at - n as f32)
    });
    canvas.blur(draws.range(0.2, 1.0));
}
