//! Letter-like glyphs for pretraining, written with one stroke width.

use super::Class;
use crate::synth::dice::Dice;
use crate::synth::figure::{Figure, Tint};
use moa_kernels::rng::Draws;
use std::f32::consts::PI;

/// In alphabetical order.
pub(super) static GLYPHS: [&Class; 9] = [
    &Class::new("ampersand", 0.25, ampersand).one_sided(),
    &Class::new("hash", 0.25, hash),
    &Class::new("letter_a", 0.25, letter_a).one_sided(),
    &Class::new("letter_e", 0.25, letter_e).one_sided(),
    &Class::new("letter_k", 0.25, letter_k).one_sided(),
    &Class::new("letter_r", 0.25, letter_r).one_sided(),
    &Class::new("letter_s", 0.25, letter_s).one_sided(),
    &Class::new("letter_y", 0.25, letter_y).one_sided(),
    &Class::new("question", 0.25, question).one_sided(),
];

/// Strokes through points, all with the width and the unsteadiness of one hand.
fn write(f: &mut Figure, d: &mut Draws, strokes: &[&[[f32; 2]]]) {
    let width = d.range(0.08, 0.19);
    let mut pen = f.piece(Tint::Main);
    for stroke in strokes {
        let mut last = None;
        for &[x, y] in *stroke {
            let here = [x + d.range(-0.06, 0.06), y + d.range(-0.06, 0.06), width];
            if let Some(last) = last {
                pen = pen.limb(last, here);
            }
            last = Some(here);
        }
    }
}

fn ampersand(f: &mut Figure, d: &mut Draws) {
    let width = d.range(0.08, 0.15);
    f.piece(Tint::Main)
        .disc(-0.05, -0.52, d.range(0.26, 0.32))
        .rim(width)
        .disc(-0.12, 0.35, d.range(0.38, 0.46))
        .rim(width)
        .limb([-0.3, -0.35, width], [0.7, 0.85, width])
        .limb([0.3, 0.5, width], [0.68, 0.1, width]);
}

fn hash(f: &mut Figure, d: &mut Draws) {
    let lean = d.range(0.0, 0.2);
    write(
        f,
        d,
        &[
            &[[-0.35 + lean, -0.9], [-0.35 - lean, 0.9]],
            &[[0.35 + lean, -0.9], [0.35 - lean, 0.9]],
            &[[-0.85, -0.32], [0.85, -0.32]],
            &[[-0.85, 0.32], [0.85, 0.32]],
        ],
    );
}

fn letter_a(f: &mut Figure, d: &mut Draws) {
    let bar = d.range(0.1, 0.4);
    let x = 0.38 + bar * 0.3;
    write(f, d, &[&[[-0.75, 0.9], [0.0, -0.9], [0.75, 0.9]], &[[-x, bar], [x, bar]]]);
}

fn letter_e(f: &mut Figure, d: &mut Draws) {
    let bar = d.range(-0.15, 0.1);
    write(
        f,
        d,
        &[&[[0.6, -0.9], [-0.55, -0.9], [-0.55, 0.9], [0.6, 0.9]], &[[-0.55, bar], [0.45, bar]]],
    );
}

fn letter_k(f: &mut Figure, d: &mut Draws) {
    let knee = d.range(-0.1, 0.25);
    write(
        f,
        d,
        &[
            &[[-0.55, -0.9], [-0.55, 0.9]],
            &[[0.6, -0.9], [-0.5, knee]],
            &[[-0.15, knee - 0.2], [0.65, 0.9]],
        ],
    );
}

fn letter_r(f: &mut Figure, d: &mut Draws) {
    let bowl = d.range(0.0, 0.15);
    write(
        f,
        d,
        &[
            &[
                [-0.5, 0.9],
                [-0.5, -0.9],
                [0.2, -0.9],
                [0.55, -0.65],
                [0.55, -0.25],
                [0.2, bowl],
                [-0.5, bowl],
            ],
            &[[0.0, bowl], [0.65, 0.9]],
        ],
    );
}

fn letter_s(f: &mut Figure, d: &mut Draws) {
    let (width, half) = (d.range(0.08, 0.19), d.range(0.4, 0.48));
    f.piece(Tint::Main).arc([0.0, -half], half, -PI * 0.85, PI * 0.65, width).arc(
        [0.0, half],
        half,
        PI * 0.15,
        PI * 0.65,
        width,
    );
}

fn letter_y(f: &mut Figure, d: &mut Draws) {
    let fork = d.range(-0.05, 0.25);
    write(f, d, &[&[[-0.7, -0.9], [0.0, fork], [0.0, 0.9]], &[[0.7, -0.9], [0.0, fork]]]);
}

fn question(f: &mut Figure, d: &mut Draws) {
    let (width, r) = (d.range(0.09, 0.16), d.range(0.38, 0.48));
    f.piece(Tint::Main)
        .arc([0.0, -0.5], r, -PI * 0.3, PI * 0.72, width)
        .limb([0.0, -0.5 + r, width], [0.0, 0.35, width]);
    f.piece(Tint::Main).disc(0.0, 0.8, width * 1.35);
}
