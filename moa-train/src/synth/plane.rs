//! Points, boxes and affine maps of the plane; `y` points down.

/// A point or a direction; `y` points down.
pub(super) type Point = [f32; 2];

/// An affine map of the plane: `p -> (a p.x + b p.y + t.x, c p.x + d p.y + t.y)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    /// `[a, b, c, d]`.
    pub linear: [f32; 4],
    /// `t`.
    pub shift: Point,
}

impl Affine {
    /// The image of `p`.
    pub fn apply(&self, [x, y]: Point) -> Point {
        let [a, b, c, d] = self.linear;
        [a * x + b * y + self.shift[0], c * x + d * y + self.shift[1]]
    }

    /// `self` after `first`.
    pub fn after(&self, first: &Affine) -> Affine {
        let ([a, b, c, d], [e, f, g, h]) = (self.linear, first.linear);
        let linear = [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h];
        Affine { linear, shift: self.apply(first.shift) }
    }

    /// The map back; `self` must not be singular.
    pub fn inverse(&self) -> Affine {
        let [a, b, c, d] = self.linear;
        let unit = 1.0 / self.area();
        let linear = [d * unit, -b * unit, -c * unit, a * unit];
        let back = Affine { linear, shift: [0.0, 0.0] }.apply(self.shift);
        Affine { linear, shift: [-back[0], -back[1]] }
    }

    /// By how much areas grow (the determinant).
    pub fn area(&self) -> f32 {
        let [a, b, c, d] = self.linear;
        a * d - b * c
    }

    /// Turns by `angle` and then moves the origin to `to`.
    pub fn place(to: Point, angle: f32) -> Affine {
        let (sin, cos) = libm::sincosf(angle);
        Affine { linear: [cos, -sin, sin, cos], shift: to }
    }
}

/// Length of a vector. A square root is exactly rounded everywhere.
pub(super) fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

/// A box with its sides along the axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Left and top.
    pub low: Point,
    /// Right and bottom.
    pub high: Point,
}

impl Bounds {
    /// Around nothing.
    pub const EMPTY: Bounds = Bounds { low: [f32::MAX; 2], high: [f32::MIN; 2] };
    /// The whole plane.
    pub const ALL: Bounds = Bounds { low: [f32::MIN; 2], high: [f32::MAX; 2] };

    /// Around points.
    pub fn of(points: &[Point]) -> Bounds {
        let one = |&p: &Point| Bounds { low: p, high: p };
        points.iter().map(one).fold(Bounds::EMPTY, Bounds::join)
    }

    /// Around both.
    pub fn join(self, other: Bounds) -> Bounds {
        let ([a, b], [c, d]) = (self.low, other.low);
        let ([e, f], [g, h]) = (self.high, other.high);
        Bounds { low: [a.min(c), b.min(d)], high: [e.max(g), f.max(h)] }
    }

    /// What lies in both.
    pub fn meet(self, other: Bounds) -> Bounds {
        let ([a, b], [c, d]) = (self.low, other.low);
        let ([e, f], [g, h]) = (self.high, other.high);
        Bounds { low: [a.max(c), b.max(d)], high: [e.min(g), f.min(h)] }
    }

    /// Larger by `margin` on every side.
    pub fn grow(self, margin: f32) -> Bounds {
        Bounds { low: self.low.map(|v| v - margin), high: self.high.map(|v| v + margin) }
    }

    /// The four corners.
    pub fn corners(self) -> [Point; 4] {
        let ([x0, y0], [x1, y1]) = (self.low, self.high);
        [[x0, y0], [x1, y0], [x0, y1], [x1, y1]]
    }

    /// The box around its image.
    pub fn map(self, by: &Affine) -> Bounds {
        Bounds::of(&self.corners().map(|p| by.apply(p)))
    }
}
