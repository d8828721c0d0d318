//! Geometric figures and signs for pretraining.

use super::Class;
use crate::synth::dice::Dice;
use crate::synth::figure::{Figure, Tint};
use crate::synth::plane::Point;
use libm::sincosf;
use moa_kernels::rng::Draws;
use std::f32::consts::{PI, TAU};

/// In alphabetical order.
pub(super) static SIGNS: [&Class; 14] = [
    &Class::new("arrow", 3.1, arrow),
    &Class::new("bolt", 0.5, bolt),
    &Class::new("crescent", 3.1, crescent),
    &Class::new("cross", 0.4, cross),
    &Class::new("drop", 0.6, drop),
    &Class::new("gear", 3.1, gear),
    &Class::new("heart", 0.4, heart),
    &Class::new("hexagon", 0.5, hexagon),
    &Class::new("ring", 0.5, ring),
    &Class::new("spiral", 3.1, spiral),
    &Class::new("square", 0.4, square),
    &Class::new("star", 0.6, star),
    &Class::new("sun", 0.6, sun),
    &Class::new("triangle", 0.6, triangle),
];

fn arrow(f: &mut Figure, d: &mut Draws) {
    let (wing, shaft) = (d.range(0.35, 0.6), d.range(0.1, 0.2));
    let neck = d.range(-0.3, 0.1);
    f.piece(Tint::Main).poly(
        &[
            [-0.95, 0.0],
            [neck, -wing],
            [neck, -shaft],
            [0.95, -shaft],
            [0.95, shaft],
            [neck, shaft],
            [neck, wing],
        ],
        0.02,
    );
}

fn bolt(f: &mut Figure, d: &mut Draws) {
    let (lean, wide) = (d.range(0.1, 0.3), d.range(0.2, 0.35));
    f.piece(Tint::Main).poly(
        &[
            [lean - wide, -1.0],
            [lean + wide, -1.0],
            [0.1, -0.2],
            [wide + 0.2, -0.2],
            [-lean - 0.2, 1.0],
            [-0.05, 0.12],
            [-wide - 0.15, 0.12],
        ],
        0.02,
    );
}

fn crescent(f: &mut Figure, d: &mut Draws) {
    let shift = d.range(0.4, 0.6);
    f.piece(Tint::Main).disc(0.0, 0.0, 0.9).cut().disc(shift, 0.0, d.range(0.75, 0.88));
}

fn cross(f: &mut Figure, d: &mut Draws) {
    let (wide, arm, at) = (d.range(0.14, 0.28), d.range(0.55, 0.9), d.range(-0.35, 0.0));
    f.piece(Tint::Main).rect(0.0, 0.0, wide, 0.95, 0.03).rect(0.0, at, arm, wide, 0.03);
}

fn drop(f: &mut Figure, d: &mut Draws) {
    let r = d.range(0.4, 0.6);
    f.piece(Tint::Main).limb([0.0, 0.4, r], [d.range(-0.1, 0.1), -0.95, 0.03]);
    f.piece(Tint::Light).arc([0.0, 0.4], r * 0.65, 2.4, 0.5, 0.05);
}

fn gear(f: &mut Figure, d: &mut Draws) {
    let teeth = 7 + d.below(4);
    let (r, tooth) = (d.range(0.55, 0.68), d.range(0.1, 0.15));
    let mut pen = f.piece(Tint::Main).disc(0.0, 0.0, r);
    for n in 0..teeth {
        let angle = TAU * n as f32 / teeth as f32;
        let (sin, cos) = sincosf(angle);
        pen = pen.rect(cos * (r + 0.1), sin * (r + 0.1), 0.16, tooth, 0.03).turn(angle);
    }
    pen.cut().disc(0.0, 0.0, d.range(0.18, 0.34));
}

fn heart(f: &mut Figure, d: &mut Draws) {
    let (r, tip) = (d.range(0.42, 0.5), d.range(0.75, 1.0));
    f.piece(Tint::Main)
        .limb([-r * 0.8, -0.3, r], [0.0, tip, 0.04])
        .limb([r * 0.8, -0.3, r], [0.0, tip, 0.04])
        // Where the halves meet the inside is deep too.
        .limb([0.0, 0.0, r * 0.8], [0.0, tip, 0.04]);
}

fn hexagon(f: &mut Figure, d: &mut Draws) {
    let start = d.range(-0.3, 0.3);
    let corner = |n: usize, r: f32| {
        let (sin, cos) = sincosf(start + PI / 3.0 * n as f32);
        [cos * r, sin * r]
    };
    let points: [Point; 6] = std::array::from_fn(|n| corner(n, 0.9));
    f.piece(Tint::Main).poly(&points, 0.0);
    if d.maybe(0.5) {
        let r = d.range(0.4, 0.65);
        let points: [Point; 6] = std::array::from_fn(|n| corner(n, r));
        f.piece(Tint::Second).poly(&points, 0.0);
    }
}

fn ring(f: &mut Figure, d: &mut Draws) {
    f.piece(Tint::Main).disc(0.0, 0.0, 0.75).rim(d.range(0.08, 0.25));
}

fn spiral(f: &mut Figure, d: &mut Draws) {
    let (turns, wide) = (d.range(2.0, 2.8), d.range(0.06, 0.1));
    let knots: [[f32; 3]; 28] = std::array::from_fn(|n| {
        let t = n as f32 / 27.0;
        let (sin, cos) = sincosf(t * turns * TAU);
        [cos * (0.05 + 0.85 * t), sin * (0.05 + 0.85 * t), wide]
    });
    f.piece(Tint::Main).path(&knots);
}

fn square(f: &mut Figure, d: &mut Draws) {
    let h = d.range(0.7, 0.9);
    f.piece(Tint::Main).rect(0.0, 0.0, 0.85, h, d.range(0.0, 0.15));
    let inner = d.range(0.35, 0.65);
    match d.below(3) {
        0 => f.piece(Tint::Second).rect(0.0, 0.0, 0.85 * inner, h * inner, 0.0),
        1 => f.piece(Tint::Second).limb([-0.7, -h * 0.8, 0.06], [0.7, h * 0.8, 0.06]),
        _ => return,
    };
}

fn star(f: &mut Figure, d: &mut Draws) {
    let points = 5 + d.below(2) as usize;
    let waist = d.range(0.36, 0.5);
    let corners: [Point; 12] = std::array::from_fn(|n| {
        let (sin, cos) = sincosf(PI * n as f32 / points as f32 - PI / 2.0);
        let r = if n % 2 == 0 { 0.95 } else { waist };
        [cos * r, sin * r]
    });
    f.piece(Tint::Main).poly(&corners[..2 * points], 0.02);
}

fn sun(f: &mut Figure, d: &mut Draws) {
    let rays = 8 + d.below(5);
    let (r, wide) = (d.range(0.38, 0.5), d.range(0.04, 0.08));
    let mut pen = f.piece(Tint::Second);
    for n in 0..rays {
        let (sin, cos) = sincosf(TAU * n as f32 / rays as f32);
        pen = pen
            .limb([cos * (r + 0.16), sin * (r + 0.16), wide], [cos * 0.95, sin * 0.95, wide * 0.6]);
    }
    f.piece(Tint::Main).disc(0.0, 0.0, r);
}

fn triangle(f: &mut Figure, d: &mut Draws) {
    let (top, base) = (d.range(-0.3, 0.3), d.range(0.6, 0.75));
    let corners = [[top, -0.85], [0.95, base], [-0.95, base]];
    f.piece(Tint::Main).poly(&corners, 0.02);
    if d.maybe(0.4) {
        let by = d.range(0.35, 0.55);
        f.piece(Tint::Second).poly(&corners.map(|[x, y]| [x * by + top * 0.1, y * by + 0.15]), 0.0);
    }
}
