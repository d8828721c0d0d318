//! Small animals, for pretraining.

use super::Class;
use crate::synth::dice::Dice;
use crate::synth::figure::{Figure, Tint};
use libm::sincosf;
use moa_kernels::rng::Draws;

/// In alphabetical order.
pub(super) static ANIMALS: [&Class; 6] = [
    &Class::new("butterfly", 0.6, butterfly),
    &Class::new("crab", 0.3, crab),
    &Class::new("duck", 0.25, duck),
    &Class::new("rabbit", 0.25, rabbit),
    &Class::new("snail", 0.25, snail),
    &Class::new("spider", 3.1, spider),
];

fn butterfly(f: &mut Figure, d: &mut Draws) {
    let (upper, lower, tilt) = (d.range(0.42, 0.52), d.range(0.3, 0.4), d.range(0.4, 0.8));
    for side in [-1.0, 1.0] {
        f.piece(Tint::Second).ellipse(side * 0.38, 0.42, lower, lower * 0.75).turn(side * 0.7);
        f.piece(Tint::Main).ellipse(side * 0.5, -0.28, upper, upper * 0.7).turn(-side * tilt);
        f.marking(Tint::Accent).disc(side * 0.55, -0.32, upper * 0.3);
        f.piece(Tint::Dark).limb([0.0, -0.45, 0.025], [side * 0.25, -0.88, 0.035]);
    }
    f.piece(Tint::Dark).limb([0.0, -0.45, 0.08], [0.0, 0.6, 0.05]);
}

fn crab(f: &mut Figure, d: &mut Draws) {
    let (wide, tall) = (d.range(0.45, 0.55), d.range(0.28, 0.38));
    for side in [-1.0, 1.0] {
        for n in 0..3 {
            let y = 0.1 + 0.14 * n as f32;
            let knee = side * (wide + 0.28 - 0.06 * n as f32);
            f.piece(Tint::Second).path(&[
                [side * wide * 0.7, y, 0.055],
                [knee, y - 0.05, 0.05],
                [knee + side * 0.1, y + 0.28, 0.03],
            ]);
        }
        let (x, y) = (side * (wide + d.range(0.15, 0.3)), -d.range(0.35, 0.5));
        f.piece(Tint::Main)
            .path(&[[side * wide * 0.7, -0.05, 0.07], [x, y + 0.2, 0.07], [x, y, 0.1]])
            .disc(x, y - 0.12, 0.2)
            .cut()
            .poly(&[[x, y - 0.1], [x - side * 0.28, y - 0.4], [x + side * 0.02, y - 0.42]], 0.0);
        f.piece(Tint::Dark).limb([side * 0.16, -0.1, 0.035], [side * 0.18, -tall - 0.1, 0.07]);
    }
    f.piece(Tint::Main).ellipse(0.0, 0.08, wide, tall);
}

fn duck(f: &mut Figure, d: &mut Draws) {
    let (r, up) = (d.range(0.24, 0.3), d.range(0.45, 0.6));
    f.piece(Tint::Accent).poly(&[[-0.6, -up - 0.1], [-0.98, -up + 0.04], [-0.6, -up + 0.14]], 0.03);
    f.piece(Tint::Main)
        .smooth(0.15)
        .ellipse(0.1, 0.3, d.range(0.6, 0.7), d.range(0.34, 0.42))
        .limb([-0.4, -up, r], [-0.25, 0.2, 0.2])
        .limb([0.5, 0.2, 0.2], [0.95, -0.1, 0.05]);
    f.piece(Tint::Second).ellipse(0.2, 0.25, 0.36, 0.2).turn(-0.25);
    f.marking(Tint::Dark).disc(-0.48, -up - 0.05, 0.05);
}

fn rabbit(f: &mut Figure, d: &mut Draws) {
    let lean = d.range(-0.1, 0.35);
    let ear = d.range(0.4, 0.55);
    f.piece(Tint::Light).disc(0.72, 0.45, 0.14);
    f.piece(Tint::Main).limb([-0.25, -0.45, 0.08], [-0.15 + lean, -0.45 - ear, 0.09]);
    f.piece(Tint::Main)
        .smooth(0.1)
        .ellipse(0.2, 0.4, d.range(0.46, 0.54), d.range(0.36, 0.44))
        .disc(-0.38, -0.2, d.range(0.25, 0.3))
        .limb([-0.42, -0.4, 0.08], [-0.42 + lean, -0.45 - ear, 0.09])
        .limb([-0.15, 0.4, 0.12], [-0.25, 0.8, 0.09]);
    f.piece(Tint::Main).ellipse(0.35, 0.55, 0.27, 0.24);
    f.piece(Tint::Main).limb([0.1, 0.82, 0.09], [0.5, 0.82, 0.09]);
    f.marking(Tint::Dark).disc(-0.46, -0.25, 0.05);
}

fn snail(f: &mut Figure, d: &mut Draws) {
    let (r, x) = (d.range(0.46, 0.56), d.range(0.1, 0.2));
    f.piece(Tint::Second)
        .smooth(0.1)
        .path(&[[0.9, 0.72, 0.05], [-0.45, 0.65, 0.15], [-0.68, 0.2, 0.13]])
        .limb([-0.62, 0.15, 0.04], [-0.55, -0.25, 0.05])
        .limb([-0.74, 0.15, 0.04], [-0.9, -0.2, 0.05]);
    f.piece(Tint::Main).disc(x, 0.08, r);
    let coil: [[f32; 3]; 18] = std::array::from_fn(|n| {
        let t = n as f32 / 17.0;
        let (sin, cos) = sincosf(1.2 + t * 10.5);
        [x + cos * t * r * 0.78, 0.08 + sin * t * r * 0.78, 0.03]
    });
    f.marking(Tint::Dark).path(&coil);
}

fn spider(f: &mut Figure, d: &mut Draws) {
    let (bend, long) = (d.range(0.15, 0.35), d.range(0.75, 0.9));
    for side in [-1.0, 1.0] {
        for n in 0..4 {
            let (sin, cos) = sincosf(-0.9 + 0.6 * n as f32);
            let (kx, ky) = (side * cos * long * 0.6, sin * long * 0.6 - bend * 0.5);
            f.piece(Tint::Second).path(&[
                [side * 0.1, -0.1, 0.045],
                [kx, ky, 0.04],
                [side * cos * long, sin * long + bend * 0.4, 0.025],
            ]);
        }
    }
    f.piece(Tint::Main)
        .ellipse(0.0, 0.25, d.range(0.26, 0.34), d.range(0.34, 0.42))
        .disc(0.0, -0.22, 0.2);
    f.piece(Tint::Light).disc(-0.08, -0.3, 0.045).disc(0.08, -0.3, 0.045);
}
