//! Demo style: brush strokes of a few harmonised colours on woven canvas.

use super::super::canvas::Canvas;
use super::super::colour::{Colour, Palette, hsv, lift, mix, scale};
use super::super::dice::Dice;
use super::super::noise;
use super::super::raster::Raster;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use super::dot;
use libm::sincosf;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let mood = hsv(draws.range(0.0, 1.0), draws.range(0.4, 0.9), draws.range(0.45, 0.9));
    let palette = Palette::random(draws, [0.35, 0.95], [0.35, 0.95]);
    let bend = draws.range(0.5, 1.3);
    let warp = Warp::new(grid, bend, 12.0, draws.next_u32());
    let figure = scene.figure(grid, &warp, &palette, 2.5);
    let things = scene.clutter(grid, &warp, &palette, 1.0);
    underpaint(&figure, &things, scene, &palette, mood, draws, canvas);
    let flow = noise::smooth(grid, [draws.range(18.0, 40.0); 2], draws.next_u32());
    let lean = draws.range(0.0, 6.3);
    let model = canvas.pixels.clone();
    let mut brush = Brush { model, figure: &figure, flow: &flow, lean, seed: draws.next_u32() };
    let broad = draws.range(1.8, 2.8);
    brush.layer(canvas, [broad * draws.range(1.6, 2.6), broad], broad * 2.0, false);
    brush.layer(canvas, [draws.range(1.4, 2.2), draws.range(0.75, 0.95)], 1.85, true);
    weave(draws, canvas);
}

/// The colours that the strokes pick up: everything leans towards one mood,
/// lit sides to warm, shaded ones to cold.
fn underpaint(
    figure: &Raster,
    things: &Raster,
    scene: &Scene,
    palette: &Palette,
    mood: Colour,
    draws: &mut Draws,
    canvas: &mut Canvas,
) {
    let grid = canvas.grid;
    let field = noise::cloud(grid, [draws.range(14.0, 36.0); 2], 2, draws.next_u32());
    let second = hsv(draws.range(0.0, 1.0), draws.range(0.3, 0.9), draws.range(0.3, 0.95));
    let second = mix(palette.ground, second, draws.range(0.3, 0.7));
    let (lean, swirl) = (draws.range(0.05, 0.3), draws.range(0.4, 1.1));
    let (warm, cold) = ([1.0, 0.85, 0.45], [0.1, 0.12, 0.4]);
    canvas.fill(|index, _| {
        let t = (0.5 + field[index] * swirl).clamp(0.0, 1.0);
        let mut colour = mix(palette.ground, mix(second, mood, 0.2), t);
        colour = mix(colour, things.colour[index], 0.7 * grid.cover(things.outer[index]));
        let cover = grid.cover(figure.outer[index]);
        if cover > 0.0 {
            let lit = dot(figure.normal(index, 5.0), scene.light);
            let own = mix(figure.colour[index], mood, lean * 0.6);
            // Three tones, as mixed on a palette.
            let tone = if lit > 0.75 {
                mix(own, warm, 0.35)
            } else if lit > 0.35 {
                own
            } else {
                mix(own, cold, 0.5)
            };
            colour = mix(colour, tone, cover);
        }
        mix(colour, mood, lean * 0.4)
    });
}

struct Brush<'a> {
    model: Vec<Colour>,
    figure: &'a Raster,
    flow: &'a [f32],
    lean: f32,
    seed: u32,
}

impl Brush<'_> {
    /// Strokes of half length and half width `size` about `pitch` points apart;
    /// fine ones only on the figure.
    fn layer(&mut self, canvas: &mut Canvas, size: [f32; 2], pitch: f32, fine: bool) {
        self.seed = self.seed.wrapping_add(0x9E37);
        let rows = (64.0 / pitch) as i32 + 1;
        for row in 0..=rows {
            for column in 0..=rows {
                let bits = noise::hash(self.seed, column, row);
                // Four numbers in [-1, 1) of 8 bits each.
                let chance = |n: u32| ((bits >> (8 * n)) & 255) as f32 * (1.0 / 128.0) - 1.0;
                let x = (column as f32 + 0.5 * chance(0)) * pitch;
                let y = (row as f32 + 0.5 * chance(1)) * pitch;
                let index = canvas.grid.at(x, y);
                if fine && self.figure.outer[index] > 0.6 {
                    continue;
                }
                let mut angle = self.lean + 1.6 * self.flow[index] + 0.3 * chance(2);
                if self.figure.edge[index] < 1.6 {
                    // Along the nearest edge.
                    let [sx, sy] = self.figure.slope(&self.figure.depth, index);
                    angle = libm::atan2f(sx, -sy) + 0.2 * chance(2);
                }
                // Paint is not mixed evenly, least of all in the background.
                let uneven = if fine { 0.09 } else { 0.17 };
                let colour = lift(self.model[index], 0.05 * chance(2));
                self.stroke(canvas, [x, y], angle, size, scale(colour, 1.0 + uneven * chance(3)));
            }
        }
    }

    fn stroke(
        &self,
        canvas: &mut Canvas,
        [x, y]: [f32; 2],
        angle: f32,
        size: [f32; 2],
        colour: Colour,
    ) {
        let grid = canvas.grid;
        let (sin, cos) = sincosf(angle);
        let [long, wide] = size;
        let (reach_x, reach_y) =
            (long * cos.abs() + wide * sin.abs(), long * sin.abs() + wide * cos.abs());
        let (along, across) = ([cos / long, sin / long], [cos / wide, sin / wide]);
        let (point, side) = (grid.point(), grid.side());
        let pixel = |v: f32| ((v / point) as usize).min(side);
        let (left, right) = (pixel(x - reach_x), pixel(x + reach_x + point));
        for row in pixel(y - reach_y)..pixel(y + reach_y + point) {
            let dy = (row as f32 + 0.5) * point - y;
            for column in left..right {
                let dx = (column as f32 + 0.5) * point - x;
                let (u, v) = (dx * along[0] + dy * along[1], dy * across[0] - dx * across[1]);
                let rest = 1.0 - u * u * u * u - v * v;
                if rest > 0.0 {
                    // The bristles leave lighter and darker streaks.
                    let streak = 1.0 + 0.12 * v - 0.06 * u;
                    canvas.over(row * side + column, scale(colour, streak), (rest * 2.5).min(0.92));
                }
            }
        }
    }
}

/// Threads over and under, each as wide as a point.
fn weave(draws: &mut Draws, canvas: &mut Canvas) {
    let strength = draws.range(0.01, 0.04);
    canvas.retouch(|_, [x, y], colour| {
        let over = (x as i32 + y as i32) & 1 == 0;
        scale(colour, if over { 1.0 + strength } else { 1.0 - strength })
    });
    canvas.grain(draws.next_u32(), 0.02);
}
