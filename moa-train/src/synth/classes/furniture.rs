//! Things that stand or hang in a room, for pretraining.

use super::Class;
use crate::synth::dice::Dice;
use crate::synth::figure::{Figure, Tint};
use moa_kernels::rng::Draws;
use std::f32::consts::PI;

/// In alphabetical order.
pub(super) static FURNITURE: [&Class; 8] = [
    &Class::new("bell", 0.3, bell),
    &Class::new("bulb", 0.5, bulb),
    &Class::new("chair", 0.2, chair),
    &Class::new("clock", 0.3, clock),
    &Class::new("lamp", 0.2, lamp),
    &Class::new("mug", 0.2, mug),
    &Class::new("table", 0.15, table),
    &Class::new("teapot", 0.2, teapot),
];

fn bell(f: &mut Figure, d: &mut Draws) {
    let (top, wide) = (d.range(0.28, 0.4), d.range(0.6, 0.75));
    f.piece(Tint::Second).disc(0.0, -0.82, 0.12);
    f.piece(Tint::Second).disc(0.0, 0.7, 0.16);
    f.piece(Tint::Main)
        .smooth(0.2)
        .disc(0.0, -0.4, top)
        .poly(&[[-top, -0.4], [top, -0.4], [wide, 0.6], [-wide, 0.6]], 0.04);
    f.piece(Tint::Accent).limb([-wide, 0.6, 0.09], [wide, 0.6, 0.09]);
}

fn bulb(f: &mut Figure, d: &mut Draws) {
    let r = d.range(0.5, 0.6);
    f.piece(Tint::Main).smooth(0.2).disc(0.0, -0.3, r).limb([0.0, 0.0, 0.3], [0.0, 0.4, 0.22]);
    f.piece(Tint::Second).rect(0.0, 0.6, 0.24, 0.17, 0.05);
    f.marking(Tint::Dark).rect(0.0, 0.54, 0.24, 0.025, 0.0).rect(0.0, 0.66, 0.24, 0.025, 0.0);
    f.piece(Tint::Dark).disc(0.0, 0.8, 0.1);
    f.piece(Tint::Accent).path(&[
        [-0.12, 0.3, 0.03],
        [-0.2, -0.25, 0.03],
        [0.0, -0.1, 0.03],
        [0.2, -0.25, 0.03],
        [0.12, 0.3, 0.03],
    ]);
}

fn chair(f: &mut Figure, d: &mut Draws) {
    let (seat, wide) = (d.range(-0.05, 0.2), d.range(0.4, 0.55));
    let (leg, lean) = (d.range(0.045, 0.075), d.range(0.0, 0.2));
    for (x, tilt) in [(-wide + 0.18, -0.05), (wide - 0.14, 0.05)] {
        f.piece(Tint::Second).limb([x, seat, leg], [x + tilt, 0.82, leg]);
    }
    f.piece(Tint::Main)
        .limb([-wide, seat, leg], [-wide - 0.06, 0.95, leg])
        .limb([wide, seat, leg], [wide + 0.06, 0.95, leg])
        .limb([wide, seat, leg], [wide + lean, -0.95, leg]);
    f.piece(Tint::Accent).limb([wide + lean * 0.4, -0.3, 0.1], [wide + lean * 0.9, -0.8, 0.1]);
    f.piece(Tint::Main).rect(0.0, seat, wide + 0.08, 0.09, 0.03);
}

fn clock(f: &mut Figure, d: &mut Draws) {
    f.piece(Tint::Main).disc(0.0, 0.0, 0.9);
    f.piece(Tint::Light).disc(0.0, 0.0, d.range(0.66, 0.78));
    let (hour, minute) = (d.range(-PI, PI), d.range(-PI, PI));
    for (angle, long, wide) in [(hour, 0.36, 0.07), (minute, 0.58, 0.05)] {
        let (sin, cos) = libm::sincosf(angle);
        f.piece(Tint::Dark).limb([0.0, 0.0, wide], [cos * long, sin * long, wide * 0.7]);
    }
}

fn lamp(f: &mut Figure, d: &mut Draws) {
    let (top, wide) = (d.range(0.2, 0.35), d.range(0.5, 0.65));
    f.piece(Tint::Second).limb([0.0, 0.0, 0.06], [0.0, 0.85, 0.06]);
    f.piece(Tint::Second).rect(0.0, 0.9, d.range(0.28, 0.42), 0.08, 0.04);
    f.piece(Tint::Main).poly(&[[-top, -0.9], [top, -0.9], [wide, 0.0], [-wide, 0.0]], 0.02);
}

fn mug(f: &mut Figure, d: &mut Draws) {
    let (wide, tall) = (d.range(0.42, 0.58), d.range(0.5, 0.68));
    f.piece(Tint::Second).arc([wide, 0.0], d.range(0.26, 0.34), 0.0, 1.8, d.range(0.06, 0.09));
    f.piece(Tint::Main).rect(0.0, 0.0, wide, tall, 0.1);
    f.piece(Tint::Dark).ellipse(0.0, -tall + 0.04, wide * 0.96, d.range(0.08, 0.16));
    if d.maybe(0.5) {
        f.marking(Tint::Accent).rect(0.0, 0.12, wide, 0.1, 0.0);
    }
}

fn table(f: &mut Figure, d: &mut Draws) {
    let (leg, splay) = (d.range(0.05, 0.09), d.range(0.0, 0.15));
    let foot = d.range(0.6, 0.8);
    for side in [-1.0, 1.0] {
        f.piece(Tint::Second)
            .limb([side * 0.5, -0.2, leg], [side * (0.52 + splay), foot - 0.14, leg * 0.8]);
        f.piece(Tint::Main).limb([side * 0.8, -0.2, leg], [side * (0.82 + splay), foot, leg * 0.8]);
    }
    f.piece(Tint::Main).rect(0.0, -0.26, 1.0, d.range(0.07, 0.12), 0.02);
}

fn teapot(f: &mut Figure, d: &mut Draws) {
    let (r, tall) = (d.range(0.5, 0.58), d.range(0.4, 0.52));
    f.piece(Tint::Second).arc([r * 0.95, -0.02], d.range(0.25, 0.32), 0.0, 1.9, 0.065);
    f.piece(Tint::Main)
        .smooth(0.12)
        .ellipse(0.0, 0.1, r, tall)
        .limb([-r * 0.7, 0.2, 0.14], [-r - 0.36, -d.range(0.2, 0.4), 0.06]);
    f.piece(Tint::Second).ellipse(0.0, 0.1 - tall, r * 0.5, 0.09);
    f.piece(Tint::Accent).disc(0.0, -0.04 - tall, 0.09);
}
