//! Things to hold or wear, for pretraining.

use super::Class;
use crate::synth::dice::Dice;
use crate::synth::figure::{Figure, Tint};
use moa_kernels::rng::Draws;
use std::f32::consts::PI;

/// In alphabetical order.
pub(super) static TOOLS: [&Class; 8] = [
    &Class::new("bottle", 0.5, bottle),
    &Class::new("fork", 0.8, fork),
    &Class::new("glasses", 0.3, glasses),
    &Class::new("hammer", 0.8, hammer),
    &Class::new("key", 1.2, key),
    &Class::new("scissors", 0.8, scissors),
    &Class::new("shirt", 0.2, shirt),
    &Class::new("umbrella", 0.5, umbrella),
];

fn bottle(f: &mut Figure, d: &mut Draws) {
    let (wide, neck) = (d.range(0.25, 0.38), d.range(0.09, 0.14));
    let shoulder = d.range(-0.3, 0.05);
    f.piece(Tint::Main)
        .smooth(0.25)
        .rect(0.0, (shoulder + 1.0) * 0.5, wide, (1.0 - shoulder) * 0.5, 0.08)
        .rect(0.0, -0.4, neck, 0.5, 0.02);
    f.piece(Tint::Second).rect(0.0, -0.92, neck * 1.2, 0.08, 0.02);
    f.marking(Tint::Light).rect(0.0, 0.5, wide * 0.98, d.range(0.15, 0.25), 0.0);
}

fn fork(f: &mut Figure, d: &mut Draws) {
    let (wide, tine) = (d.range(0.2, 0.28), d.range(0.035, 0.05));
    let mut pen = f.piece(Tint::Main).limb([0.0, 0.0, 0.06], [0.0, 1.0, d.range(0.07, 0.11)]).arc(
        [0.0, -0.4],
        wide,
        PI * 0.5,
        PI * 0.5,
        tine,
    );
    for x in [-1.0f32, -0.33, 0.33, 1.0] {
        let root = -0.4 + wide * (1.0 - x * x).sqrt();
        pen = pen.limb([x * wide, root, tine], [x * wide, -0.95, tine]);
    }
}

fn glasses(f: &mut Figure, d: &mut Draws) {
    let (r, gap, rim) = (d.range(0.3, 0.38), d.range(0.08, 0.16), d.range(0.04, 0.08));
    for side in [-1.0, 1.0] {
        let x = side * (gap + r);
        f.piece(Tint::Light).disc(x, 0.0, r);
        f.piece(Tint::Main)
            .disc(x, 0.0, r)
            .rim(rim)
            .limb([x + side * r, -0.05, rim], [side * 1.0, -d.range(0.1, 0.35), rim]);
    }
    f.piece(Tint::Main).arc([0.0, 0.06], gap * 1.3, -PI * 0.5, PI * 0.35, rim);
}

fn hammer(f: &mut Figure, d: &mut Draws) {
    let (head, tall) = (d.range(0.35, 0.45), d.range(0.12, 0.18));
    f.piece(Tint::Second).limb([0.0, -0.7, 0.07], [0.0, 1.0, d.range(0.08, 0.12)]);
    f.piece(Tint::Main)
        .rect(-head * 0.4, -0.75, head * 0.65, tall, 0.03)
        .poly(&[[0.0, -0.75 - tall], [0.0, -0.75 + tall], [head * 1.3, -0.62]], 0.02);
}

fn key(f: &mut Figure, d: &mut Draws) {
    let (r, bar) = (d.range(0.26, 0.36), d.range(0.06, 0.09));
    let mut pen = f.piece(Tint::Main).disc(-0.62, 0.0, r).limb([-0.4, 0.0, bar], [0.95, 0.0, bar]);
    for _ in 0..2 + d.below(2) {
        let x = d.range(0.45, 0.9);
        pen = pen.rect(x, 0.14, 0.06, d.range(0.1, 0.2), 0.0);
    }
    pen.cut().disc(-0.62, 0.0, r * d.range(0.45, 0.65));
}

fn scissors(f: &mut Figure, d: &mut Draws) {
    let (open, r) = (d.range(0.15, 0.4), d.range(0.17, 0.23));
    for side in [-1.0, 1.0] {
        let (sin, cos) = libm::sincosf(open * 0.5 * side);
        f.piece(Tint::Second).limb([0.0, 0.0, 0.09], [sin * 1.0, -cos, 0.02]);
        f.piece(Tint::Main)
            .limb([0.0, 0.0, 0.07], [-sin * 0.6 - side * 0.08, cos * 0.4, 0.06])
            .ellipse(-sin * 0.6 - side * (r * 0.9), cos * 0.65, r, r * 1.2)
            .rim(0.055);
    }
    f.piece(Tint::Dark).disc(0.0, 0.0, 0.05);
}

fn shirt(f: &mut Figure, d: &mut Draws) {
    let (wide, sleeve) = (d.range(0.42, 0.52), d.range(0.1, 0.45));
    for side in [-1.0, 1.0] {
        f.piece(Tint::Second).poly(
            &[
                [side * 0.3, -0.8],
                [side * 0.95, -0.4 + sleeve],
                [side * 0.68, -0.2 + sleeve],
                [side * 0.35, -0.3],
            ],
            0.03,
        );
    }
    f.piece(Tint::Main).rect(0.0, 0.05, wide, 0.85, 0.06).cut().ellipse(
        0.0,
        -0.82,
        0.2,
        d.range(0.12, 0.25),
    );
    if d.maybe(0.5) {
        f.marking(Tint::Accent).rect(0.0, 0.1, wide, 0.12, 0.0);
    }
}

fn umbrella(f: &mut Figure, d: &mut Draws) {
    let r = d.range(0.8, 0.95);
    f.piece(Tint::Second).limb([0.0, -0.9, 0.045], [0.0, 0.75, 0.045]).arc(
        [-0.16, 0.75],
        0.16,
        PI * 0.5,
        PI * 0.5,
        0.045,
    );
    f.piece(Tint::Main)
        .disc(0.0, 0.05, r)
        .keep()
        .rect(0.0, -0.5, 1.0, 0.55, 0.0)
        .cut()
        .disc(-r * 0.66, 0.1, r * 0.34)
        .disc(0.0, 0.1, r * 0.34)
        .disc(r * 0.66, 0.1, r * 0.34);
    f.piece(Tint::Accent)
        .ellipse(0.0, -0.1, r * 0.33, r * 0.72)
        .rim(0.025)
        .keep()
        .rect(0.0, -0.55, 1.0, 0.45, 0.0);
}
