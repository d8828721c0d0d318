//! The hand that composes figures: chained calls, one per part.

use super::figure::{Figure, Join, Part};
use super::plane::{Affine, Point, length};
use super::shape::{CORNERS, Prim};

/// Adds parts to the piece begun last; every method gives the pen back.
pub(super) struct Pen<'a> {
    figure: &'a mut Figure,
    join: Join,
}

impl<'a> Pen<'a> {
    /// Adds sharp unions until told otherwise.
    pub fn new(figure: &'a mut Figure) -> Self {
        Self { figure, join: Join::Add(0.0) }
    }

    /// Joins the following parts with rounded corners of about `radius`.
    pub fn smooth(mut self, radius: f32) -> Self {
        self.join = Join::Add(radius);
        self
    }

    /// Takes the following parts away.
    pub fn cut(mut self) -> Self {
        self.join = Join::Cut;
        self
    }

    /// Keeps only what lies in the following parts too.
    pub fn keep(mut self) -> Self {
        self.join = Join::Keep;
        self
    }

    /// Turns the part added last about its own origin.
    pub fn turn(self, angle: f32) -> Self {
        if let Some(part) = self.figure.parts.last_mut() {
            part.place = part.place.after(&Affine::place([0.0, 0.0], angle));
        }
        self
    }

    /// Leaves of the part added last only its rim, `half` wide to both sides.
    pub fn rim(self, half: f32) -> Self {
        if let Some(part) = self.figure.parts.last_mut() {
            part.rim = half;
        }
        self
    }

    /// A circle.
    pub fn disc(self, x: f32, y: f32, r: f32) -> Self {
        self.ellipse(x, y, r, r)
    }

    /// An ellipse with half axes `rx`, `ry`.
    pub fn ellipse(self, x: f32, y: f32, rx: f32, ry: f32) -> Self {
        self.add(Prim::Ellipse { rx, ry }, Affine::place([x, y], 0.0))
    }

    /// A rectangle with half sides `hx`, `hy` and rounded corners.
    pub fn rect(self, x: f32, y: f32, hx: f32, hy: f32, round: f32) -> Self {
        self.add(Prim::Rect { hx, hy, round }, Affine::place([x, y], 0.0))
    }

    /// A bar from `[x, y, radius]` to `[x, y, radius]`.
    pub fn limb(self, [x0, y0, start]: [f32; 3], [x1, y1, end]: [f32; 3]) -> Self {
        let (dx, dy) = (x1 - x0, y1 - y0);
        let length = length(dx, dy).max(1e-4);
        let linear = [dx / length, -dy / length, dy / length, dx / length];
        self.add(Prim::Limb { length, start, end }, Affine { linear, shift: [x0, y0] })
    }

    /// Bars through `[x, y, radius]` one after the other.
    pub fn path(mut self, knots: &[[f32; 3]]) -> Self {
        for pair in knots.windows(2) {
            if let &[from, to] = pair {
                self = self.limb(from, to);
            }
        }
        self
    }

    /// A bent bar: the middle of the arc lies at angle `middle`, its ends `half` away.
    pub fn arc(self, [x, y]: Point, radius: f32, middle: f32, half: f32, width: f32) -> Self {
        let (sin, cos) = libm::sincosf(half);
        self.add(Prim::Arc { radius, sin, cos, width }, Affine::place([x, y], middle))
    }

    /// A polygon (at most [`CORNERS`] corners) grown by `round`.
    pub fn poly(self, points: &[Point], round: f32) -> Self {
        let mut corners = [[0.0; 2]; CORNERS];
        let count = points.len().min(CORNERS);
        corners[..count].copy_from_slice(&points[..count]);
        self.add(Prim::Poly { corners, count, round }, Affine::place([0.0, 0.0], 0.0))
    }

    fn add(self, prim: Prim, place: Affine) -> Self {
        self.figure.parts.push(Part { prim, place, join: self.join, rim: 0.0 });
        if let Some(piece) = self.figure.pieces.last_mut() {
            piece.end = self.figure.parts.len();
        }
        self
    }
}
