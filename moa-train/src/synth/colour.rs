//! Colours as sRGB values in `[0, 1]`, and palettes that do not depend on the class.

use super::dice::Dice;
use super::figure::Tint;
use moa_kernels::rng::Draws;

/// Red, green, blue.
pub(super) type Colour = [f32; 3];

/// From hue (any real, one turn is 1), saturation and value.
pub(super) fn hsv(hue: f32, saturation: f32, value: f32) -> Colour {
    let hue = (hue - hue.floor()) * 6.0;
    let ramp = |offset: f32| {
        let h = if hue + offset >= 6.0 { hue + offset - 6.0 } else { hue + offset };
        let k = h.min(4.0 - h).clamp(0.0, 1.0);
        value - value * saturation * k
    };
    [ramp(5.0), ramp(3.0), ramp(1.0)]
}

/// `a` moved towards `b` by `t`.
pub(super) fn mix(a: Colour, b: Colour, t: f32) -> Colour {
    [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t]
}

/// Every channel times `by`.
pub(super) fn scale(a: Colour, by: f32) -> Colour {
    a.map(|v| v * by)
}

/// Every channel plus `by`.
pub(super) fn lift(a: Colour, by: f32) -> Colour {
    a.map(|v| v + by)
}

/// Brightness (Rec. 601 weights).
pub(super) fn luma(a: Colour) -> f32 {
    0.299 * a[0] + 0.587 * a[1] + 0.114 * a[2]
}

/// The same grey in all channels.
pub(super) fn grey(value: f32) -> Colour {
    [value; 3]
}

/// One colour per [`Tint`], and one for what is behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    /// Behind everything.
    pub ground: Colour,
    tints: [Colour; 5],
}

impl Palette {
    /// Colours of random hue with saturation and value from the given ranges,
    /// the larger pieces kept apart from the ground, so that the figure shows.
    pub fn random(draws: &mut Draws, saturation: [f32; 2], value: [f32; 2]) -> Self {
        let mut any = || {
            let s = draws.range(saturation[0], saturation[1]);
            let v = draws.range(value[0], value[1]);
            hsv(draws.range(0.0, 1.0), s, v)
        };
        let ground = any();
        let (mut main, mut second) = (any(), any());
        for _ in 0..TRIES {
            if distance(ground, main) < 0.35 {
                main = any();
            }
            if distance(second, main) < 0.2 || distance(second, ground) < 0.25 {
                second = any();
            }
        }
        let accent = any();
        let dark = mix(scale(any(), 0.4), grey(0.08), 0.6);
        let light = mix(any(), grey(0.95), 0.75);
        Self { ground, tints: [main, second, accent, dark, light] }
    }

    /// The same on another ground; what is too close to it gets lighter or darker.
    pub fn before(mut self, ground: Colour) -> Self {
        let away = if luma(ground) > 0.5 { 0.08 } else { 0.92 };
        for tint in &mut self.tints[..2] {
            let near = (1.0 - distance(*tint, ground) / 0.35).max(0.0);
            *tint = mix(*tint, grey(away), 0.7 * near);
        }
        Self { ground, ..self }
    }

    /// `main` on `ground` and shades between the two.
    pub fn two(ground: Colour, main: Colour) -> Self {
        let shade = |t: f32| mix(main, ground, t);
        Self { ground, tints: [main, shade(0.3), shade(0.55), shade(0.8), shade(0.3)] }
    }

    /// The colour of a tint.
    pub fn of(&self, tint: Tint) -> Colour {
        self.tints[tint as usize]
    }
}

/// How often colours that are too close are drawn again.
const TRIES: usize = 8;

/// How well two colours part: brightness counts most, then the channel that
/// differs most.
fn distance(a: Colour, b: Colour) -> f32 {
    let channel = |n: usize| (a[n] - b[n]).abs();
    (luma(a) - luma(b)).abs() * 1.5 + channel(0).max(channel(1)).max(channel(2)) * 0.5
}
