//! What is in a picture before a style paints it: a figure somewhere, light
//! from somewhere, and clutter behind.

use super::canvas::Grid;
use super::classes::Class;
use super::colour::Palette;
use super::dice::Dice;
use super::figure::{Figure, Tint};
use super::plane::{Affine, Bounds, Point};
use super::raster::Raster;
use super::sampling::Warp;
use moa_kernels::rng::Draws;

/// A composed picture.
pub(super) struct Scene {
    figure: Figure,
    place: Affine,
    clutter: Figure,
    /// Unit vector towards the light: right, down, towards the viewer.
    pub light: [f32; 3],
}

impl Scene {
    /// Draws the class's proportions, then where and how the figure stands.
    pub fn new(class: &Class, draws: &mut Draws) -> Self {
        let mut figure = Figure::default();
        (class.build)(&mut figure, draws);
        let place = placement(&figure, class, draws);
        let clutter = clutter(draws);
        let (sin, cos) = libm::sincosf(draws.range(-2.5, -0.65));
        let height = draws.range(0.5, 0.75);
        let flat = (1.0 - height * height).sqrt();
        Self { figure, place, clutter, light: [cos * flat, sin * flat, height] }
    }

    /// The figure; see [`Raster::new`].
    pub fn figure(&self, grid: Grid, warp: &Warp, palette: &Palette, reach: f32) -> Raster {
        Raster::new(grid, &self.figure, &self.place, warp, palette, reach)
    }

    /// The things behind it, which belong to no class.
    pub fn clutter(&self, grid: Grid, warp: &Warp, palette: &Palette, reach: f32) -> Raster {
        let place = Affine { linear: [1.0, 0.0, 0.0, 1.0], shift: [0.0; 2] };
        Raster::new(grid, &self.clutter, &place, warp, palette, reach)
    }
}

/// Turned, mirrored, sheared and stretched at random; as large as its longer
/// side and its area suggest together; anywhere in the picture.
fn placement(figure: &Figure, class: &Class, draws: &mut Draws) -> Affine {
    let turn = Affine::place([0.0; 2], class.turn * draws.range(-1.0, 1.0));
    let stretch = draws.range(0.86, 1.16);
    let mirror = if class.mirror { draws.sign() } else { 1.0 };
    let shear = draws.range(-0.12, 0.12);
    let shape = Affine { linear: [stretch * mirror, shear, 0.0, 1.0 / stretch], shift: [0.0; 2] };
    let pose = turn.after(&shape);
    let Bounds { low, high } = figure.bounds(&pose);
    let half = [(high[0] - low[0]) * 0.5, (high[1] - low[1]) * 0.5];
    let (long, mean) = (half[0].max(half[1]), (half[0] * half[1]).sqrt());
    // Slender things may fill the picture's length, compact ones stay smaller.
    let size = draws.range(19.0, 28.0);
    let by = (size / mean).min((size * 1.2).min(31.0) / long);
    let middle = [(low[0] + high[0]) * 0.5, (low[1] + high[1]) * 0.5];
    let to = |axis: usize, draws: &mut Draws| {
        let slack = (32.0 - half[axis] * by).max(0.0) + 1.5;
        32.0 + draws.range(-slack, slack) - middle[axis] * by
    };
    let shift = [to(0, draws), to(1, draws)];
    Affine { linear: pose.linear.map(|v| v * by), shift }
}

/// Up to six small things, mostly away from the middle.
fn clutter(draws: &mut Draws) -> Figure {
    let mut figure = Figure::default();
    for _ in 0..draws.below(7) {
        let at: Point = [draws.range(0.0, 64.0), draws.range(0.0, 64.0)];
        let tint = [Tint::Main, Tint::Second, Tint::Accent][draws.below(3) as usize];
        let (size, turn) = (draws.range(2.0, 6.5), draws.range(-3.1, 3.1));
        let [x, y] = at;
        let thin = size * draws.range(0.35, 1.0);
        let pen = figure.piece(tint);
        match draws.below(5) {
            0 => pen.ellipse(x, y, size, thin).turn(turn),
            1 => pen.rect(x, y, size, thin, 0.3).turn(turn),
            2 => {
                let (dx, dy) = (draws.range(-8.0, 8.0), draws.range(-8.0, 8.0));
                pen.limb([x, y, thin * 0.4], [x + dx, y + dy, thin * 0.4])
            }
            3 => pen.arc(at, size, turn, draws.range(0.5, 1.6), 0.8),
            _ => pen.poly(
                &[[x, y - size], [x + size, y + thin * 0.7], [x - thin, y + size * 0.6]],
                0.3,
            ),
        };
    }
    figure
}
