//! Signed distances to plane figures, negative inside, in the manner of Inigo
//! Quilez' "2D distance functions": <https://iquilezles.org/articles/distfunctions2d>.
//!
//! A primitive lies in its own frame. Distances are evaluated a row of pixels
//! at a time so that choosing the primitive costs nothing per pixel.

use super::plane::{Affine, Bounds, Point, length};

/// The most corners of a [`Prim::Poly`].
pub(super) const CORNERS: usize = 12;

/// A plane figure at the origin of its own frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prim {
    /// Half axes `rx`, `ry`; exact for a circle, first-order otherwise.
    Ellipse { rx: f32, ry: f32 },
    /// Half sides, and the radius of the corners (inside the half sides).
    Rect { hx: f32, hy: f32, round: f32 },
    /// From radius `start` at the origin to radius `end` at `(length, 0)`.
    Limb { length: f32, start: f32, end: f32 },
    /// A bent bar about the origin, open at `-x`: `(sin, cos)` of the half angle.
    Arc { radius: f32, sin: f32, cos: f32, width: f32 },
    /// Up to [`CORNERS`] corners in order, grown by `round`.
    Poly { corners: [Point; CORNERS], count: usize, round: f32 },
}

impl Prim {
    /// A box around it.
    pub fn bounds(&self) -> Bounds {
        let about = |x: f32, y: f32| Bounds { low: [-x, -y], high: [x, y] };
        match *self {
            Prim::Ellipse { rx, ry } => about(rx, ry),
            Prim::Rect { hx, hy, .. } => about(hx, hy),
            Prim::Arc { radius, width, .. } => about(radius + width, radius + width),
            Prim::Poly { corners, count, round } => Bounds::of(&corners[..count]).grow(round),
            Prim::Limb { length, start, end } => {
                let r = start.max(end);
                Bounds { low: [-r, -r], high: [length + r, r] }
            }
        }
    }

    /// Distances of the points `(xs, ys)`, which `frame` takes into this
    /// primitive's own frame, written to `out` (all of one length).
    pub fn row(&self, frame: &Affine, xs: &[f32], ys: &[f32], out: &mut [f32]) {
        match *self {
            Prim::Ellipse { rx, ry } if rx == ry => {
                each(frame, xs, ys, out, |x, y| length(x, y) - rx)
            }
            Prim::Ellipse { rx, ry } => {
                let (ix, iy, least) = (1.0 / rx, 1.0 / ry, 1e-4 / rx.min(ry));
                each(frame, xs, ys, out, |x, y| {
                    let (x, y) = (x * ix, y * iy);
                    // The floors give the centre its distance in place of 0 / 0.
                    let k = length(x, y).max(1e-4);
                    k * (k - 1.0) / length(x * ix, y * iy).max(least)
                });
            }
            Prim::Rect { hx, hy, round } => each(frame, xs, ys, out, |x, y| {
                let (x, y) = (x.abs() - hx + round, y.abs() - hy + round);
                length(x.max(0.0), y.max(0.0)) + x.max(y).min(0.0) - round
            }),
            Prim::Limb { length: reach, start, end } => {
                limb(frame, xs, ys, out, [reach, start, end])
            }
            Prim::Arc { radius, sin, cos, width } => each(frame, xs, ys, out, |x, y| {
                let y = y.abs();
                let along = (length(x, y) - radius).abs();
                let tip = length(x - radius * cos, y - radius * sin);
                (if x * sin >= y * cos { along } else { tip }) - width
            }),
            Prim::Poly { corners, count, round } => {
                let corners = &corners[..count];
                each(frame, xs, ys, out, |x, y| polygon(corners, x, y) - round);
            }
        }
    }
}

fn each(frame: &Affine, xs: &[f32], ys: &[f32], out: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    for ((d, &x), &y) in out.iter_mut().zip(xs).zip(ys) {
        let [x, y] = frame.apply([x, y]);
        *d = f(x, y);
    }
}

fn limb(frame: &Affine, xs: &[f32], ys: &[f32], out: &mut [f32], [reach, start, end]: [f32; 3]) {
    // Shorter than the difference of the radii, one end swallows the other.
    let slope = ((start - end) / reach.max(1e-6)).clamp(-0.999, 0.999);
    let flank = (1.0 - slope * slope).sqrt();
    each(frame, xs, ys, out, |x, y| {
        let y = y.abs();
        let along = x * flank - y * slope;
        let (head, tail) = (length(x, y) - start, length(x - reach, y) - end);
        let side = x * slope + y * flank - start;
        if along < 0.0 {
            head
        } else if along > flank * reach {
            tail
        } else {
            side
        }
    });
}

fn polygon(corners: &[Point], x: f32, y: f32) -> f32 {
    let (mut nearest, mut inside) = (f32::MAX, false);
    let mut last = corners.last().copied().unwrap_or_default();
    for &corner in corners {
        let (ex, ey) = (last[0] - corner[0], last[1] - corner[1]);
        let (wx, wy) = (x - corner[0], y - corner[1]);
        let t = ((wx * ex + wy * ey) / (ex * ex + ey * ey + 1e-9)).clamp(0.0, 1.0);
        let (bx, by) = (wx - ex * t, wy - ey * t);
        nearest = nearest.min(bx * bx + by * by);
        let above = y >= corner[1];
        if above != (y >= last[1]) && ((ex * wy > ey * wx) == above) {
            inside = !inside;
        }
        last = corner;
    }
    if inside { -nearest.sqrt() } else { nearest.sqrt() }
}
