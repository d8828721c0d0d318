//! Demo style: flat saturated colours, two tones, thick dark outlines, and a
//! background of flat areas.

use super::super::canvas::Canvas;
use super::super::colour::{Colour, Palette, hsv, mix, scale};
use super::super::dice::Dice;
use super::super::raster::Raster;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use super::{dot, stripe};
use libm::sincosf;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let palette = Palette::random(draws, [0.55, 1.0], [0.7, 1.0]);
    let bend = draws.range(0.2, 0.9);
    let warp = Warp::new(grid, bend, 22.0, draws.next_u32());
    let ink = hsv(draws.range(0.0, 1.0), 0.5, draws.range(0.03, 0.2));
    backdrop(&palette, draws, canvas);
    let pen = draws.range(0.6, 1.05);
    if draws.maybe(0.6) {
        let things = scene.clutter(grid, &warp, &palette, 3.0);
        flat(&things, scene, [0.0, pen * 0.8], ink, canvas);
    }
    let figure = scene.figure(grid, &warp, &palette, 3.0);
    let tones = if draws.maybe(0.75) { draws.range(0.15, 0.35) } else { 0.0 };
    flat(&figure, scene, [tones, pen], ink, canvas);
}

/// One colour, two bands, a disc, rays or hills.
fn backdrop(palette: &Palette, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let ground = mix(palette.ground, [1.0; 3], draws.range(0.0, 0.5));
    let other = mix(ground, hsv(draws.range(0.0, 1.0), 0.6, 0.95), draws.range(0.35, 0.8));
    let (kind, wide) = (draws.below(6), draws.range(8.0, 20.0));
    let (cx, cy) = (draws.range(8.0, 56.0), draws.range(8.0, 56.0));
    let (sin, cos) = sincosf(draws.range(0.0, 3.1));
    let size = draws.range(12.0, 30.0);
    canvas.fill(|_, [x, y]| {
        let (dx, dy) = (x - cx, y - cy);
        let d = match kind {
            0 => return ground,
            1 => cy - y + 0.2 * dx * sin,
            2 => (dx * dx + dy * dy).sqrt() - size,
            3 => stripe(dx * cos + dy * sin, wide) - wide * 0.25,
            4 => {
                // Rays: equal angles, without their sines, by folding octants.
                let (a, b) = (dx.abs().min(dy.abs()), dx.abs().max(dy.abs()));
                (stripe(a / (b + 0.01), 0.5) - 0.125) * b
            }
            _ => {
                let hill = stripe(x + cx, size * 2.0) - size * 0.5;
                cy - 6.0 + hill * hill / size - y
            }
        };
        mix(ground, other, grid.cover(d))
    });
}

/// `[darkening of the shaded side, half the width of the inner lines]`.
fn flat(raster: &Raster, scene: &Scene, [tones, pen]: [f32; 2], ink: Colour, canvas: &mut Canvas) {
    let grid = canvas.grid;
    canvas.retouch(|index, _, behind| {
        let (outer, edge) = (raster.outer[index], raster.edge[index]);
        if outer > pen * 2.0 {
            return behind;
        }
        let shade = tones > 0.0 && dot(raster.normal(index, 6.0), scene.light) < 0.3;
        let colour = scale(raster.colour[index], if shade { 1.0 - tones } else { 1.0 });
        // The outline is heavier than the lines inside.
        let line = grid.cover(edge - pen * 0.75).max(grid.cover(outer.abs() - pen * 1.3));
        mix(mix(behind, colour, grid.cover(outer)), ink, line)
    });
}
