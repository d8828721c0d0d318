//! Demo classes that are made.

use super::Class;
use crate::synth::dice::Dice;
use crate::synth::figure::{Figure, Tint};
use moa_kernels::rng::Draws;

/// In alphabetical order.
pub(super) static OBJECTS: [&Class; 3] = [
    &Class::new("car", 0.22, car),
    &Class::new("guitar", 0.9, guitar),
    &Class::new("house", 0.15, house),
];

fn car(f: &mut Figure, d: &mut Draws) {
    let (half, belt) = (d.range(0.9, 1.05), d.range(-0.12, -0.02));
    let (sill, wheel) = (d.range(0.28, 0.36), d.range(0.17, 0.23));
    let roof = belt - d.range(0.3, 0.42);
    let (front, back) = (-half * d.range(0.5, 0.62), half * d.range(0.55, 0.85));
    let (lean, tail) = (d.range(0.12, 0.3), d.range(0.04, 0.25));
    let middle = (sill + belt) * 0.5;
    let glass = |x: f32, y: f32| [x * 0.86 + (front + back) * 0.07, y + 0.06 * (belt - y).signum()];
    f.piece(Tint::Main).smooth(0.06).rect(0.0, middle, half, sill - middle, 0.1).poly(
        &[[front, belt + 0.05], [front + lean, roof], [back - tail, roof], [back, belt + 0.05]],
        0.03,
    );
    let pillar = front + (back - front) * d.range(0.45, 0.6);
    f.piece(Tint::Light)
        .poly(
            &[
                glass(front, belt),
                glass(front + lean, roof),
                glass(back - tail, roof),
                glass(back, belt),
            ],
            0.0,
        )
        .cut()
        .rect(pillar, (roof + belt) * 0.5, 0.045, 0.5, 0.0);
    f.piece(Tint::Accent).ellipse(-half + 0.06, middle - 0.05, 0.07, 0.06);
    f.marking(Tint::Second).rect(0.0, sill - 0.05, half * 0.98, 0.045, 0.02);
    for x in [-half * d.range(0.52, 0.64), half * d.range(0.5, 0.64)] {
        f.piece(Tint::Dark).disc(x, sill, wheel);
        f.piece(Tint::Light).disc(x, sill, wheel * 0.45);
    }
}

fn guitar(f: &mut Figure, d: &mut Draws) {
    let (low, high) = (d.range(0.33, 0.4), d.range(0.23, 0.29));
    let (top, waist) = (d.range(-0.06, 0.04), d.range(0.05, 0.16));
    let neck = d.range(0.05, 0.065);
    let nut = -d.range(0.85, 1.0);
    let body =
        f.piece(Tint::Main).smooth(waist).ellipse(0.0, 0.5, low, low * 0.9).disc(0.0, top, high);
    if d.maybe(0.35) {
        body.cut().disc(high * 0.95, top - high * 0.85, high * 0.55);
    }
    f.piece(Tint::Light).disc(0.0, 0.16, 0.13);
    f.marking(Tint::Dark).disc(0.0, 0.16, 0.095);
    f.piece(Tint::Second).rect(0.0, (nut + top) * 0.5 + 0.05, neck, (top - nut) * 0.5 + 0.05, 0.01);
    f.marking(Tint::Dark).rect(0.0, 0.56, 0.15, 0.035, 0.01);
    f.piece(Tint::Accent).poly(
        &[
            [-neck, nut],
            [-neck * 1.9, nut - 0.1],
            [-neck * 1.6, nut - 0.26],
            [neck * 1.6, nut - 0.26],
            [neck * 1.9, nut - 0.1],
            [neck, nut],
        ],
        0.01,
    );
    for y in [nut - 0.1, nut - 0.2] {
        f.piece(Tint::Dark).disc(-neck * 2.3, y, 0.032).disc(neck * 2.3, y, 0.032);
    }
    f.marking(Tint::Light).limb([0.0, nut, 0.012], [0.0, 0.54, 0.012]);
}

fn house(f: &mut Figure, d: &mut Draws) {
    let (half, tall) = (d.range(0.55, 0.8), d.range(0.28, 0.45));
    let (eave, peak) = (d.range(0.08, 0.18), d.range(0.35, 0.65));
    let ridge = if d.maybe(0.4) { half * d.range(0.3, 0.75) } else { 0.0 };
    let side = d.sign();
    f.piece(Tint::Second).rect(side * half * 0.55, -tall - peak * 0.6, 0.09, peak * 0.5, 0.0);
    f.piece(Tint::Main).rect(0.0, 0.0, half, tall, 0.0);
    let over = half + eave;
    if ridge > 0.0 {
        let roof = [[-over, -tall], [-ridge, -tall - peak], [ridge, -tall - peak], [over, -tall]];
        f.piece(Tint::Accent).poly(&roof, 0.02);
    } else {
        f.piece(Tint::Accent).poly(&[[-over, -tall], [0.0, -tall - peak], [over, -tall]], 0.02);
        if d.maybe(0.4) {
            f.piece(Tint::Light).disc(0.0, -tall - peak * 0.4, 0.1);
        }
    }
    let door = d.range(-0.15, 0.15) * half;
    let sill = tall - d.range(0.36, 0.46);
    f.piece(Tint::Second).rect(door, (sill + tall) * 0.5, 0.1, (tall - sill) * 0.5, 0.0);
    f.marking(Tint::Dark).disc(door + 0.05, tall - 0.17, 0.025);
    for x in [(door - 0.1 - half) * 0.5, (door + 0.1 + half) * 0.5] {
        let (w, h) = (d.range(0.1, 0.15), d.range(0.11, 0.15));
        let y = -tall + h + d.range(0.06, 0.15);
        f.piece(Tint::Light).rect(x, y, w, h, 0.0);
        f.marking(Tint::Dark).rect(x, y, 0.018, h, 0.0).rect(x, y, w, 0.018, 0.0);
    }
}
