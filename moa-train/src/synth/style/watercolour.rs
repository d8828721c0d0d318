//! Pretraining style: thin washes that bleed and dry darker at their edges.

use super::super::canvas::Canvas;
use super::super::colour::{Colour, Palette, mix, scale};
use super::super::dice::Dice;
use super::super::noise;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use super::step;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let palette = Palette::random(draws, [0.4, 0.9], [0.35, 0.9]);
    let paper = [1.0, draws.range(0.96, 1.0), draws.range(0.86, 0.98)];
    let bend = draws.range(0.8, 2.0);
    let warp = Warp::new(grid, bend, 7.0, draws.next_u32());
    let figure = scene.figure(grid, &warp, &palette, 2.5);
    let things = scene.clutter(grid, &warp, &palette, 2.5);
    let wet = noise::cloud(grid, [draws.range(10.0, 24.0); 2], 3, draws.next_u32());
    let tooth = noise::cloud(grid, [2.5; 2], 1, draws.next_u32());
    let (soft, rim) = (draws.range(0.4, 1.6), draws.range(0.15, 0.4));
    let (strong, sky) = (draws.range(0.6, 0.9), draws.range(0.0, 0.5));
    canvas.fill(|index, _| {
        let pool = 1.0 + 0.45 * wet[index] + 0.12 * tooth[index];
        let mut colour = glaze(paper, palette.ground, sky * (0.5 + wet[index]));
        for (raster, strength) in [(&things, strong * 0.45), (&figure, strong)] {
            let d = raster.outer[index];
            let cover = step(soft, -soft, d);
            let dry = rim * (1.0 - raster.edge[index] / 2.2).max(0.0);
            colour = glaze(colour, raster.colour[index], cover * (strength * pool + dry));
        }
        scale(colour, 1.0 + 0.02 * tooth[index])
    });
}

/// Paint takes light away from what is under it.
fn glaze(under: Colour, paint: Colour, strength: f32) -> Colour {
    let through = mix([1.0; 3], paint, strength.clamp(0.0, 1.0));
    [0, 1, 2].map(|c| under[c] * through[c])
}
