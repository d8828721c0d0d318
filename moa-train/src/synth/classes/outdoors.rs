//! Plants and vessels, for pretraining.

use super::Class;
use crate::synth::dice::Dice;
use crate::synth::figure::{Figure, Tint};
use libm::sincosf;
use moa_kernels::rng::Draws;
use std::f32::consts::{PI, TAU};

/// In alphabetical order.
pub(super) static OUTDOORS: [&Class; 9] = [
    &Class::new("anchor", 0.4, anchor),
    &Class::new("apple", 0.3, apple),
    &Class::new("boat", 0.25, boat),
    &Class::new("cactus", 0.2, cactus),
    &Class::new("flower", 0.4, flower),
    &Class::new("leaf", 3.1, leaf),
    &Class::new("mushroom", 0.3, mushroom),
    &Class::new("rocket", 0.9, rocket),
    &Class::new("tree", 0.2, tree),
];

fn anchor(f: &mut Figure, d: &mut Draws) {
    let (bar, r) = (d.range(0.07, 0.11), d.range(0.55, 0.7));
    let (sin, cos) = sincosf(d.range(1.1, 1.3));
    f.piece(Tint::Main)
        .disc(0.0, -0.78, 0.15)
        .rim(0.06)
        .limb([0.0, -0.6, bar], [0.0, 0.85, bar])
        .limb([-0.38, -0.4, bar * 0.8], [0.38, -0.4, bar * 0.8])
        .arc([0.0, 0.85 - r], r, PI * 0.5, libm::atan2f(sin, cos), bar);
    for side in [-1.0, 1.0] {
        let (x, y) = (side * sin * r, 0.85 - r + cos * r);
        f.piece(Tint::Main)
            .poly(&[[x - 0.2, y + 0.08], [x + side * 0.06, y - 0.28], [x + 0.2, y + 0.08]], 0.01);
    }
}

fn apple(f: &mut Figure, d: &mut Draws) {
    let (r, gap) = (d.range(0.48, 0.55), d.range(0.16, 0.26));
    f.piece(Tint::Dark).limb([0.0, -0.4, 0.05], [d.range(-0.15, 0.15), -0.85, 0.05]);
    f.piece(Tint::Second).ellipse(0.28, -0.68, 0.24, 0.1).turn(d.range(-0.7, -0.2));
    f.piece(Tint::Main).smooth(0.1).ellipse(-gap, 0.12, r, d.range(0.6, 0.7)).ellipse(
        gap,
        0.12,
        r,
        d.range(0.6, 0.7),
    );
}

fn boat(f: &mut Figure, d: &mut Draws) {
    let (deck, keel) = (d.range(0.35, 0.45), d.range(0.7, 0.85));
    let mast = d.range(-0.15, 0.15);
    f.piece(Tint::Dark).limb([mast, -0.95, 0.035], [mast, deck, 0.035]);
    f.piece(Tint::Light)
        .poly(&[[mast + 0.08, -0.9], [mast + 0.08, 0.2], [mast + d.range(0.5, 0.75), 0.2]], 0.01);
    if d.maybe(0.7) {
        f.piece(Tint::Second).poly(
            &[[mast - 0.08, -0.7], [mast - 0.08, 0.2], [mast - d.range(0.35, 0.6), 0.2]],
            0.01,
        );
    }
    f.piece(Tint::Main).poly(&[[-0.95, deck], [0.95, deck], [0.6, keel], [-0.65, keel]], 0.03);
}

fn cactus(f: &mut Figure, d: &mut Draws) {
    let r = d.range(0.16, 0.22);
    f.piece(Tint::Second).poly(&[[-0.4, 0.6], [0.4, 0.6], [0.3, 1.0], [-0.3, 1.0]], 0.02);
    let mut pen = f.piece(Tint::Main).limb([0.0, 0.6, r], [0.0, -0.75, r]);
    for side in [-1.0, 1.0] {
        let (y, x, up) = (d.range(-0.1, 0.3), side * d.range(0.4, 0.55), d.range(0.3, 0.6));
        pen = pen.path(&[[0.0, y, r * 0.65], [x, y, r * 0.65], [x, y - up, r * 0.6]]);
    }
}

fn flower(f: &mut Figure, d: &mut Draws) {
    let petals = 5 + d.below(3);
    let (r, stem) = (d.range(0.28, 0.34), d.range(0.85, 1.0));
    f.piece(Tint::Second).limb([0.0, -0.35, 0.05], [d.range(-0.15, 0.15), stem, 0.05]);
    f.piece(Tint::Second).ellipse(d.sign() * 0.25, 0.55, 0.27, 0.11).turn(d.range(-0.6, 0.6));
    for n in 0..petals {
        let angle = TAU * n as f32 / petals as f32;
        let (sin, cos) = sincosf(angle);
        f.piece(Tint::Main).ellipse(cos * r, sin * r - 0.4, 0.26, 0.16).turn(angle);
    }
    f.piece(Tint::Accent).disc(0.0, -0.4, d.range(0.14, 0.2));
}

fn leaf(f: &mut Figure, d: &mut Draws) {
    let lens = d.range(0.25, 0.55);
    let r = (0.85 * 0.85 + lens * lens) / (2.0 * lens) + 0.05;
    f.piece(Tint::Main)
        .disc(r - lens, 0.0, r)
        .keep()
        .disc(lens - r, 0.0, r)
        .rect(0.0, 0.0, lens, 0.87, 0.0);
    let mut veins = f.marking(Tint::Second).limb([0.0, -0.7, 0.025], [0.0, 1.1, 0.045]);
    for y in [-0.35, 0.0, 0.35] {
        for side in [-1.0, 1.0] {
            veins = veins.limb([0.0, y, 0.025], [side * lens * 0.55, y - 0.22, 0.02]);
        }
    }
}

fn mushroom(f: &mut Figure, d: &mut Draws) {
    let (wide, tall, stem) = (d.range(0.75, 0.95), d.range(0.6, 0.85), d.range(0.16, 0.26));
    f.piece(Tint::Light).limb([0.0, 0.0, stem], [0.0, 0.8, stem * 1.15]);
    f.piece(Tint::Main).ellipse(0.0, 0.05, wide, tall).keep().rect(0.0, -0.5, 1.0, 0.55, 0.05);
    for x in [-0.5, 0.0, 0.45] {
        f.piece(Tint::Accent).disc(x * wide, -tall * d.range(0.25, 0.5), d.range(0.08, 0.13));
    }
}

fn rocket(f: &mut Figure, d: &mut Draws) {
    let (wide, fin) = (d.range(0.22, 0.3), d.range(0.25, 0.4));
    f.piece(Tint::Accent).limb([0.0, 0.65, 0.15], [0.0, 1.0, 0.04]);
    for side in [-1.0, 1.0] {
        f.piece(Tint::Second).poly(
            &[[side * wide * 0.8, 0.1], [side * (wide + fin), 0.75], [side * wide * 0.6, 0.6]],
            0.02,
        );
    }
    f.piece(Tint::Main).limb([0.0, 0.3, wide * 1.1], [0.0, -0.95, 0.03]).rect(
        0.0,
        0.4,
        wide * 0.95,
        0.25,
        0.05,
    );
    f.piece(Tint::Light).disc(0.0, -0.08, wide * 0.5);
}

fn tree(f: &mut Figure, d: &mut Draws) {
    let trunk = d.range(0.08, 0.13);
    f.piece(Tint::Second).limb([0.0, 0.0, trunk], [0.0, 0.9, trunk * 1.3]);
    if d.maybe(0.5) {
        for n in 0..3 {
            let y = 0.35 - 0.42 * n as f32;
            let wide = d.vary(0.62 - 0.14 * n as f32, 0.1);
            f.piece(Tint::Main).poly(&[[-wide, y], [0.0, y - 0.6], [wide, y]], 0.03);
        }
    } else {
        let r = d.range(0.32, 0.4);
        f.piece(Tint::Main)
            .smooth(0.06)
            .disc(-0.34, -0.15, r)
            .disc(0.34, -0.2, r)
            .disc(d.range(-0.1, 0.1), -0.52, r)
            .disc(0.0, -0.1, r);
    }
}
