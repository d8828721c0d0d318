//! Pretraining style: figure and ground differ by texture (and a little by
//! colour), not by outline.

use super::super::canvas::{Canvas, Grid};
use super::super::colour::{Colour, Palette, grey, hsv, mix};
use super::super::dice::Dice;
use super::super::noise;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use super::stripe;
use libm::sincosf;
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let palette = Palette::two(grey(0.0), grey(1.0));
    let bend = draws.range(0.2, 1.0);
    let warp = Warp::new(grid, bend, 16.0, draws.next_u32());
    let figure = scene.figure(grid, &warp, &palette, 1.0);
    let things = scene.clutter(grid, &warp, &palette, 1.0);
    let hue = draws.range(0.0, 1.0);
    let kind = draws.below(3);
    let inside = Texture::random(grid, kind, hue, draws);
    let hue = hue + draws.range(0.05, 0.25) * draws.sign();
    let outside = Texture::random(grid, kind + 1 + draws.below(2), hue, draws);
    let (seam, show) = (draws.range(0.0, 0.7), draws.range(0.0, 0.7));
    canvas.fill(|index, at| {
        let own = inside.colour(index, at, 1.0 - 0.45 * (1.0 - figure.colour[index][0]));
        let other = outside.colour(index, at, 1.0);
        let thing = inside.colour(index, at, 0.7);
        let behind = mix(other, thing, show * grid.cover(things.outer[index]));
        let colour = mix(behind, own, grid.cover(figure.outer[index]));
        mix(colour, grey(0.05), seam * grid.cover(figure.edge[index] - 0.45))
    });
}

/// Blotches, stripes or speckles of two colours.
struct Texture {
    kind: u32,
    field: Vec<f32>,
    light: Colour,
    dark: Colour,
    turn: [f32; 2],
    pitch: f32,
    seed: u32,
}

impl Texture {
    fn random(grid: Grid, kind: u32, hue: f32, draws: &mut Draws) -> Self {
        let (sin, cos) = sincosf(draws.range(0.0, 3.1));
        let seed = draws.next_u32();
        let value = draws.range(0.5, 0.95);
        Self {
            kind: kind % 3,
            field: noise::cloud(grid, [draws.range(4.0, 9.0); 2], 2, seed),
            light: hsv(hue, draws.range(0.2, 0.7), value),
            dark: hsv(
                hue + draws.range(-0.08, 0.08),
                draws.range(0.3, 0.8),
                value * draws.range(0.35, 0.6),
            ),
            turn: [cos, sin],
            pitch: draws.range(2.5, 4.5),
            seed,
        }
    }

    fn colour(&self, index: usize, [x, y]: [f32; 2], bright: f32) -> Colour {
        let t = match self.kind {
            0 => 0.5 + 3.0 * self.field[index],
            1 => {
                let across = x * self.turn[0] + y * self.turn[1] + 2.0 * self.field[index];
                0.5 + stripe(across, self.pitch) - self.pitch * 0.25
            }
            _ => 0.5 + 0.5 * noise::white(self.seed, index as i32, 3),
        };
        mix(self.dark, self.light, t.clamp(0.0, 1.0)).map(|v| v * bright)
    }
}
