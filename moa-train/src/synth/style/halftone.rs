//! Pretraining style: printed dots on a turned grid, larger where it is darker.

use super::super::canvas::Canvas;
use super::super::colour::{Palette, hsv, luma, mix};
use super::super::dice::Dice;
use super::super::noise;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use super::dot;
use libm::sincosf;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let palette = Palette::random(draws, [0.0, 0.6], [0.1, 1.0]);
    let bend = draws.range(0.1, 0.6);
    let warp = Warp::new(grid, bend, 20.0, draws.next_u32());
    let figure = scene.figure(grid, &warp, &palette, 1.0);
    let things = scene.clutter(grid, &warp, &palette, 1.0);
    let paper = hsv(draws.range(0.0, 1.0), draws.range(0.0, 0.25), draws.range(0.85, 1.0));
    let ink = hsv(draws.range(0.0, 1.0), draws.range(0.3, 1.0), draws.range(0.05, 0.6));
    let (paper, ink) = if draws.maybe(0.3) { (ink, paper) } else { (paper, ink) };
    let far = noise::smooth(grid, [40.0; 2], draws.next_u32());
    let (sin, cos) = sincosf(draws.range(0.2, 1.3));
    let pitch = draws.range(2.6, 3.8);
    let (high, low) = (draws.range(0.65, 0.95), draws.range(0.02, 0.25));
    let ground = luma(palette.ground);
    canvas.fill(|index, [x, y]| {
        let mut tone = low + 0.1 * far[index];
        tone += 0.3 * grid.cover(things.outer[index]);
        if figure.outer[index] < 0.5 {
            // The figure is the darker one whatever its colours.
            let shade = 1.0 - 0.35 * dot(figure.normal(index, 6.0), scene.light);
            let own = (luma(figure.colour[index]) - ground).abs();
            tone = high * shade * (0.75 + 0.5 * own);
        }
        let line = 0.5 * grid.cover(figure.edge[index] - 0.35);
        let (u, v) = ((x * cos + y * sin) / pitch, (y * cos - x * sin) / pitch);
        let (u, v) = (u - (u + 0.5).floor(), v - (v + 0.5).floor());
        // Radius whose disc covers the tone; full black needs the corners too.
        let radius = pitch * 0.62 * tone.clamp(0.0, 1.3).sqrt();
        let d = (u * u + v * v).sqrt() * pitch - radius;
        mix(paper, ink, (0.5 - d).clamp(0.0, 1.0).max(line))
    });
}
