//! From a figure to per-pixel distances and colours, piece by piece.

use super::canvas::Grid;
use super::colour::{Colour, Palette, mix};
use super::figure::{Figure, Join, Part};
use super::plane::Affine;
use super::sampling::{Warp, Window};

/// A distance beyond everything that is drawn.
pub(super) const FAR: f32 = 1e3;

/// By how much a line around a marking is thinner on each side, in points.
const FAINT: f32 = 0.3;

/// What a style needs to know of a figure at every pixel; distances in points.
pub(super) struct Raster {
    /// The raster.
    pub grid: Grid,
    /// To the outline of the whole figure, negative inside; [`FAR`] where
    /// nothing is within reach.
    pub outer: Vec<f32>,
    /// Inside the figure, how deep in the piece on top; outside `-outer`.
    pub depth: Vec<f32>,
    /// To the nearest visible edge of a piece.
    pub edge: Vec<f32>,
    /// The colour of the piece on top (or nearest).
    pub colour: Vec<Colour>,
    piece: Vec<f32>,
    line: Vec<f32>,
}

impl Raster {
    /// Draws `figure`, taken to points by `place`. Distances hold up to `reach`.
    pub fn new(
        grid: Grid,
        figure: &Figure,
        place: &Affine,
        warp: &Warp,
        palette: &Palette,
        reach: f32,
    ) -> Self {
        let area = grid.area();
        let mut raster = Self {
            grid,
            outer: vec![FAR; area],
            depth: vec![-FAR; area],
            edge: vec![FAR; area],
            colour: vec![palette.ground; area],
            piece: vec![FAR; area],
            line: vec![0.0; grid.side()],
        };
        let back = place.inverse();
        let unit = place.area().abs().sqrt();
        for piece in &figure.pieces {
            let parts = &figure.parts[piece.start..piece.end];
            // Beside a marking there is the surface that it lies on.
            let margin = warp.strength + if piece.marking { reach.min(2.0) } else { reach };
            let visible = parts.iter().filter(|part| matches!(part.join, Join::Add(_)));
            let whole = visible.map(|part| raster.window(part, place, margin)).reduce(Window::join);
            let Some(whole) = whole else { continue };
            raster.clear(whole);
            for (n, part) in parts.iter().enumerate() {
                let window = match part.join {
                    Join::Keep => whole,
                    Join::Add(radius) => raster.window(part, place, margin + radius * unit),
                    Join::Cut => raster.window(part, place, margin),
                };
                let join = if n == 0 { Join::Add(0.0) } else { part.join };
                raster.part(part, join, window.within(whole), &back, unit, warp);
            }
            raster.paint(whole, palette.of(piece.tint), piece.marking);
        }
        raster
    }

    fn window(&self, part: &Part, place: &Affine, margin: f32) -> Window {
        Window::new(part.bounds(place).grow(margin), self.grid)
    }

    fn clear(&mut self, window: Window) {
        for row in window.rows(self.grid) {
            self.piece[row].fill(FAR);
        }
    }

    fn part(
        &mut self,
        part: &Part,
        join: Join,
        window: Window,
        back: &Affine,
        unit: f32,
        warp: &Warp,
    ) {
        let frame = part.place.inverse().after(back);
        for row in window.rows(self.grid) {
            let line = &mut self.line[..row.len()];
            part.prim.row(&frame, &warp.xs[row.clone()], &warp.ys[row.clone()], line);
            for d in line.iter_mut() {
                *d *= unit;
            }
            if part.rim > 0.0 {
                for d in line.iter_mut() {
                    *d = d.abs() - part.rim * unit;
                }
            }
            let piece = self.piece[row].iter_mut().zip(line);
            match join {
                Join::Add(radius) if radius > 0.0 => {
                    let (k, inverse) = (radius * unit, 0.25 / (radius * unit));
                    for (d, new) in piece {
                        let h = (k - (*d - *new).abs()).max(0.0);
                        *d = d.min(*new) - h * h * inverse;
                    }
                }
                Join::Add(_) => piece.for_each(|(d, new)| *d = d.min(*new)),
                Join::Cut => piece.for_each(|(d, new)| *d = d.max(-*new)),
                Join::Keep => piece.for_each(|(d, new)| *d = d.max(*new)),
            }
        }
    }

    /// Lays the piece just measured over what is there.
    fn paint(&mut self, window: Window, tint: Colour, marking: bool) {
        let grid = self.grid;
        let half = 0.5 * grid.point();
        for index in window.rows(grid).flatten() {
            let d = self.piece[index];
            if d < half {
                // Over bare ground the colour is taken whole: the style blends
                // the figure's outline itself.
                let cover = if self.outer[index] > half { 1.0 } else { grid.cover(d) };
                self.colour[index] = mix(self.colour[index], tint, cover);
            } else if d < self.outer[index] && self.outer[index] > half {
                self.colour[index] = tint;
            }
            self.outer[index] = self.outer[index].min(d);
            let edge = &mut self.edge[index];
            if marking {
                *edge = edge.min(d.abs() + FAINT);
            } else if d < 0.0 {
                self.depth[index] = -d;
                *edge = -d;
            } else {
                *edge = edge.min(d);
            }
            if self.outer[index] >= 0.0 {
                self.depth[index] = -self.outer[index];
            }
        }
    }
}
