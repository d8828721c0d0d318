//! Demo style: pencil lines on white paper, gone over twice, with light
//! hatching; nothing is filled.

use super::super::canvas::{Canvas, Grid};
use super::super::colour::{Palette, grey, scale};
use super::super::dice::Dice;
use super::super::noise;
use super::super::plane::Bounds;
use super::super::raster::Raster;
use super::super::sampling::{Warp, Window};
use super::super::scene::Scene;
use super::{dot, step, stripe};
use libm::sincosf;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    // No colour is used, only distances.
    let palette = Palette::two(grey(1.0), grey(0.0));
    let paper = draws.range(0.9, 1.0);
    let tooth = noise::cloud(grid, [3.0; 2], 2, draws.next_u32());
    canvas.fill(|index, _| grey(paper + 0.03 * tooth[index]));
    let press = noise::smooth(grid, [draws.range(7.0, 14.0); 2], draws.next_u32());
    let (pen, dark) = (draws.range(0.35, 0.65), draws.range(0.7, 0.98));
    let bend = draws.range(0.5, 1.1);
    let mut figure = None;
    for pass in 0..1 + draws.below(2) {
        let warp = Warp::new(grid, bend + 0.3 * pass as f32, 11.0, draws.next_u32());
        let raster = scene.figure(grid, &warp, &palette, 1.5);
        let fainter = if pass == 0 { 1.0 } else { 0.6 };
        lines(&raster, &press, [pen, dark * fainter], canvas);
        figure.get_or_insert((raster, warp));
    }
    if let Some((raster, warp)) = &figure {
        if draws.maybe(0.7) {
            hatch(raster, scene, draws, dark * 0.5, canvas);
        }
        if draws.maybe(0.5) {
            let things = scene.clutter(grid, warp, &palette, 1.5);
            behind(&things, raster, [pen * 0.8, dark * 0.5], canvas);
        }
    }
    scribble(grid, draws, dark, canvas);
    canvas.grain(draws.next_u32(), draws.range(0.01, 0.04));
}

/// `[half width, darkness]`, both varied by the pressure of the hand.
fn lines(raster: &Raster, press: &[f32], [pen, dark]: [f32; 2], canvas: &mut Canvas) {
    let grid = canvas.grid;
    canvas.retouch(|index, _, paper| {
        let line = grid.cover(raster.edge[index] - pen * (1.0 + 0.5 * press[index]));
        scale(paper, 1.0 - line * dark * (0.8 + 0.35 * press[index]).min(1.0))
    });
}

/// Clutter is outlined faintly and does not show through the figure.
fn behind(things: &Raster, figure: &Raster, [pen, dark]: [f32; 2], canvas: &mut Canvas) {
    let grid = canvas.grid;
    canvas.retouch(|index, _, paper| {
        let line =
            if figure.outer[index] > 1.0 { grid.cover(things.edge[index] - pen) } else { 0.0 };
        scale(paper, 1.0 - line * dark)
    });
}

/// Parallel strokes on the side away from the light.
fn hatch(raster: &Raster, scene: &Scene, draws: &mut Draws, dark: f32, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let (sin, cos) = sincosf(draws.range(0.3, 2.8));
    let (pitch, limit) = (draws.range(1.8, 3.0), draws.range(0.2, 0.5));
    canvas.retouch(|index, [x, y], paper| {
        if raster.outer[index] > -0.4 {
            return paper;
        }
        let lit = dot(raster.normal(index, 7.0), scene.light);
        let line = grid.cover(stripe(x * cos + y * sin, pitch) - 0.2);
        scale(paper, 1.0 - dark * line * step(limit, limit - 0.25, lit))
    });
}

/// Loose strokes: construction lines and smudges.
fn scribble(grid: Grid, draws: &mut Draws, dark: f32, canvas: &mut Canvas) {
    for _ in 0..draws.below(4) {
        let (sin, cos) = sincosf(draws.range(-0.4, 0.4));
        let (x, y) = (draws.range(4.0, 60.0), draws.range(4.0, 60.0));
        let (long, faint) = (draws.range(5.0, 26.0), dark * draws.range(0.15, 0.5));
        let tall = 0.4 * long + 1.5;
        let reach = Bounds { low: [x - long, y - tall], high: [x + long, y + tall] };
        for index in Window::new(reach, grid).rows(grid).flatten() {
            let [px, py] = grid.centre(index);
            let (u, v) = ((px - x) * cos + (py - y) * sin, (py - y) * cos - (px - x) * sin);
            if u.abs() < long && v.abs() < 1.5 {
                let line = grid.cover(v.abs() - 0.25) * (1.0 - u.abs() / long);
                canvas.pixels[index] = scale(canvas.pixels[index], 1.0 - line * faint);
            }
        }
    }
}
