//! Demo classes that are alive. They face left; the scene mirrors them.

use super::Class;
use crate::synth::dice::Dice;
use crate::synth::figure::{Figure, Tint};
use moa_kernels::rng::Draws;

/// In alphabetical order.
pub(super) static CREATURES: [&Class; 4] = [
    &Class::new("elephant", 0.15, elephant),
    &Class::new("fish", 0.6, fish),
    &Class::new("giraffe", 0.15, giraffe),
    &Class::new("person", 0.2, person),
];

fn elephant(f: &mut Figure, d: &mut Draws) {
    let (long, tall) = (d.range(0.5, 0.62), d.range(0.36, 0.45));
    let (leg, foot) = (d.range(0.11, 0.145), d.range(0.75, 0.9));
    let (head, ear) = (d.range(0.26, 0.31), d.range(0.24, 0.32));
    let (hx, hy) = (-long - d.range(0.02, 0.12), d.range(-0.28, -0.12));
    let (swing, tip) = (d.range(-0.1, 0.12), d.range(-0.3, 0.06));
    let reach = d.range(0.5, 0.75);
    let stride = d.range(-0.1, 0.1);
    let (fore, hind) = (-long * 0.5, long * 0.75);
    f.piece(Tint::Main)
        .limb([fore + 0.2, 0.2, leg], [fore + 0.2 - stride, foot - 0.04, leg * 0.95])
        .limb([hind - 0.22, 0.2, leg], [hind - 0.22 + stride, foot - 0.04, leg * 0.95]);
    f.piece(Tint::Main).limb([long, -0.05, 0.03], [long + d.range(0.08, 0.2), 0.4, 0.035]);
    f.piece(Tint::Main)
        .smooth(0.12)
        .ellipse(0.03, 0.0, long, tall)
        .limb([fore, 0.15, leg * 1.1], [fore + stride, foot, leg])
        .limb([hind, 0.15, leg * 1.15], [hind - stride, foot, leg])
        .disc(hx, hy, head)
        .path(&[
            [hx - 0.13, hy + 0.08, 0.15],
            [hx - 0.27 - swing, hy + 0.1 + reach * 0.45, 0.1],
            [hx - 0.3 - swing * 1.5, hy + 0.1 + reach * 0.85, 0.08],
            [hx - 0.36 + tip, hy + 0.1 + reach, 0.065],
        ]);
    f.piece(Tint::Light).path(&[
        [hx - 0.1, hy + 0.2, 0.05],
        [hx - 0.22, hy + 0.38, 0.04],
        [hx - 0.4, hy + 0.4, 0.02],
    ]);
    f.piece(Tint::Second).ellipse(hx + 0.22, hy + 0.06, ear * 0.75, ear).turn(d.range(-0.3, 0.3));
    f.marking(Tint::Dark).disc(hx - 0.1, hy - 0.06, 0.045);
}

fn fish(f: &mut Figure, d: &mut Draws) {
    let (long, tall) = (d.range(0.58, 0.72), d.range(0.27, 0.44));
    let (fork, fan) = (d.range(0.62, 0.85), d.range(0.26, 0.42));
    let root = long * 0.8;
    let fin = d.range(0.12, 0.26);
    f.piece(Tint::Second).poly(
        &[[root, 0.0], [root + 0.42, -fan], [root + 0.42 * fork, 0.0], [root + 0.42, fan]],
        0.03,
    );
    f.piece(Tint::Second).poly(
        &[
            [-long * 0.4, -tall * 0.7],
            [-long * 0.05, -tall - fin],
            [long * 0.5, -tall - fin * 0.6],
            [long * 0.5, -tall * 0.5],
        ],
        0.03,
    );
    f.piece(Tint::Second)
        .poly(&[[-0.1, tall * 0.8], [0.15, tall + fin * 0.7], [0.25, tall * 0.7]], 0.03);
    f.piece(Tint::Main)
        .smooth(0.1)
        .ellipse(0.0, 0.0, long, tall)
        .limb([long * 0.4, 0.0, tall * 0.45], [long * 0.95, 0.0, 0.07]);
    if d.maybe(0.5) {
        for n in 0..3 {
            let x = -0.08 + n as f32 * 0.22;
            f.marking(Tint::Accent)
                .limb([x, -tall, 0.045], [x + 0.05, tall, 0.045])
                .keep()
                .ellipse(0.0, 0.0, long, tall * 0.97);
        }
    } else {
        f.piece(Tint::Second).poly(&[[-0.14, 0.04], [0.2, 0.08], [0.1, 0.26]], 0.02);
    }
    f.marking(Tint::Accent).arc([-long * 0.85, 0.0], tall * 0.95, 0.0, 0.7, 0.03);
    f.piece(Tint::Light).disc(-long * 0.62, -tall * 0.28, 0.085);
    f.marking(Tint::Dark).disc(-long * 0.64, -tall * 0.28, 0.045);
}

fn giraffe(f: &mut Figure, d: &mut Draws) {
    let (long, tall) = (d.range(0.36, 0.44), d.range(0.19, 0.25));
    let foot = d.range(0.85, 1.0);
    let (nx, ny) = (-long - d.range(0.1, 0.32), -d.range(0.78, 0.98));
    let stride = d.range(-0.12, 0.12);
    let leg = d.range(0.055, 0.07);
    let (fore, hind) = (-long * 0.72, long * 0.78);
    for (x, side) in [(fore + 0.12, -1.0), (hind - 0.13, 1.0)] {
        f.piece(Tint::Main).limb([x, 0.1, leg], [x + side * stride, foot - 0.03, leg * 0.8]);
    }
    f.piece(Tint::Dark).limb([long, 0.0, 0.025], [long + 0.1, 0.38, 0.045]);
    f.piece(Tint::Main)
        .smooth(0.08)
        .ellipse(0.0, 0.04, long, tall)
        .turn(0.15)
        .limb([-long * 0.7, 0.0, 0.17], [nx, ny, 0.085])
        .limb([fore, 0.1, leg * 1.3], [fore + stride, foot, leg * 0.85])
        .limb([hind, 0.05, leg * 1.5], [hind - stride, foot, leg * 0.85])
        .limb([nx, ny, 0.11], [nx - 0.26, ny + d.range(0.04, 0.16), 0.065])
        .limb([nx + 0.06, ny, 0.04], [nx + 0.2, ny - 0.05, 0.03]);
    f.piece(Tint::Dark).limb([nx, ny - 0.06, 0.03], [nx + 0.02, ny - 0.2, 0.04]);
    for n in 0..4 {
        let t = n as f32 * 0.24 + d.range(0.08, 0.14);
        let (x, y) = (-long * 0.7 + (nx + long * 0.7) * t, ny * t);
        let r = (0.075 - 0.035 * t) * d.range(0.8, 1.1);
        f.marking(Tint::Second)
            .rect(x + d.range(-0.02, 0.02), y, r, r * 1.2, 0.03)
            .turn(d.range(-1.0, 1.0));
    }
    for n in 0..6 {
        let (column, row) = ((n / 2) as f32, (n % 2) as f32);
        let (x, y) = (-long * 0.5 + column * long * 0.52, -tall * 0.38 + row * tall * 0.85);
        let r = d.range(0.055, 0.08);
        f.marking(Tint::Second)
            .rect(x + d.range(-0.03, 0.03), y + 0.04, r * 1.2, r, 0.03)
            .turn(d.range(-1.0, 1.0));
    }
    f.marking(Tint::Dark).disc(nx - 0.06, ny - 0.01, 0.03);
}

fn person(f: &mut Figure, d: &mut Draws) {
    let (shoulder, hip) = (d.range(0.2, 0.27), d.range(0.14, 0.2));
    let (head, waist) = (d.range(0.19, 0.23), d.range(0.08, 0.2));
    let limb = d.range(0.07, 0.09);
    let skirt = d.maybe(0.3);
    for side in [-1.0, 1.0] {
        let stand = side * hip * 0.6;
        let (knee, foot) = (stand + side * d.range(0.0, 0.14), stand + side * d.range(0.0, 0.3));
        f.piece(Tint::Second).path(&[
            [stand, waist, limb * 1.2],
            [knee, 0.58, limb],
            [foot, 0.98, limb * 0.85],
        ]);
        f.piece(Tint::Dark).limb([foot, 1.0, 0.075], [foot + side * 0.1, 1.02, 0.055]);
    }
    for side in [-1.0, 1.0] {
        let (ex, ey) = (shoulder + d.range(0.08, 0.28), d.range(-0.4, 0.0));
        let (wx, wy) = (ex + d.range(-0.12, 0.18), ey + d.range(-0.35, 0.32));
        f.piece(Tint::Main).limb([side * shoulder, -0.36, limb], [side * ex, ey, limb * 0.85]);
        f.piece(Tint::Accent).limb([side * ex, ey, limb * 0.8], [side * wx, wy, limb * 0.75]);
    }
    let hem = if skirt { [hip * 1.9, waist + 0.32] } else { [hip, waist + 0.06] };
    f.piece(Tint::Main).poly(
        &[
            [-shoulder, -0.38],
            [shoulder, -0.38],
            [hip * 0.9, waist - 0.1],
            hem,
            [-hem[0], hem[1]],
            [-hip * 0.9, waist - 0.1],
        ],
        0.06,
    );
    f.piece(Tint::Accent).limb([0.0, -0.4, 0.07], [0.0, -0.55, 0.07]);
    let top = -0.52 - head;
    f.piece(Tint::Accent).ellipse(0.0, top, head * 0.9, head);
    let hair = f.piece(Tint::Dark).ellipse(0.0, top - 0.03, head, head * 1.05);
    if d.maybe(0.4) {
        hair.limb([-head * 0.85, top, 0.06], [-head, top + head * 1.1, 0.05])
            .limb([head * 0.85, top, 0.06], [head, top + head * 1.1, 0.05])
            .cut()
            .ellipse(0.0, top + head * 0.35, head * 0.78, head * 0.95);
    } else {
        hair.cut().ellipse(d.range(-0.08, 0.08), top + head * 0.75, head * 1.25, head * 1.15);
    }
}
