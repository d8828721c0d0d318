//! The layers of a plain transformer.

use super::case::{Arg, Case, Op, Reference, tokens, trained};
use crate::activation::{Activation, activate};
use crate::attention::attention;
use crate::cross_entropy::cross_entropy;
use crate::layer_norm::layer_norm;
use crate::linear::linear;
use crate::miro::penalty;
use crate::reference;
use crate::residual::residual;

/// A function of one number.
type Plain = fn(f64) -> f64;

fn case(name: String, args: Vec<Arg>, op: Op, reference: Reference) -> Case {
    Case { name, args, op, reference }
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (rows, width, out) in [(1, 1, 1), (5, 7, 3), (131, 24, 17)] {
        let args = vec![
            tokens(1, &[rows, width], 1.0),
            trained(2, &[out, width], 0.3),
            trained(3, &[out], 1.0),
        ];
        all.push(case(
            format!("linear {rows} x {width} -> {out}"),
            args,
            Box::new(|t| linear(&t[0], &t[1], Some(&t[2]))),
            Box::new(move |v| reference::linear(&v[0], &v[1], &v[2], width)),
        ));
    }
    all.push(case(
        "linear of a view".into(),
        vec![tokens(4, &[6, 5], 1.0), trained(5, &[4, 6], 1.0)],
        Box::new(|t| linear(&t[0].t()?.reshape((1, 5, 6))?, &t[1], None)),
        Box::new(|v| {
            let x: Vec<f64> = (0..30).map(|i| v[0][i % 6 * 5 + i / 6]).collect();
            reference::linear(&x, &v[1], &[], 6)
        }),
    ));
    for (rows, width) in [(1, 3), (7, 20), (65, 192)] {
        all.push(case(
            format!("layer norm {rows} x {width}"),
            vec![
                tokens(6, &[rows, width], 2.0),
                trained(7, &[width], 1.0),
                trained(8, &[width], 1.0),
            ],
            Box::new(|t| layer_norm(&t[0], &t[1], &t[2], 1e-6)),
            Box::new(|v| reference::layer_norm(&v[0], &v[1], &v[2], 1e-6)),
        ));
    }
    for (batch, n, queries, heads, width) in [
        (1, 1, 1, 1, 2),
        (2, 17, 17, 3, 8),
        (2, 19, 1, 2, 4),
        (1, 65, 65, 2, 64),
        (2, 70, 9, 1, 64),
    ] {
        let row = 3 * heads * width;
        all.push(case(
            format!("attention {batch} x {n}, {heads} heads of {width}, {queries} queries"),
            vec![tokens(9, &[batch, n, row], 1.0)],
            Box::new(move |t| attention(&t[0], heads, queries)),
            Box::new(move |v| {
                let first = |image| {
                    reference::attention(image, n, heads)[..queries * heads * width].to_vec()
                };
                v[0].chunks(n * row).flat_map(first).collect()
            }),
        ));
    }
    let kinds: [(&str, Activation, Plain); 2] = [
        ("gelu", Activation::Gelu, reference::gelu),
        ("quick gelu", Activation::QuickGelu, reference::quick_gelu),
    ];
    for (name, kind, plain) in kinds {
        all.push(case(
            name.into(),
            vec![tokens(10, &[3, 40], 2.0)],
            Box::new(move |t| activate(&t[0], kind)),
            Box::new(move |v| v[0].iter().map(|&x| plain(x)).collect()),
        ));
    }
    all.push(case(
        "swiglu".into(),
        vec![tokens(10, &[3, 40], 2.0)],
        Box::new(|t| activate(&t[0], Activation::SwiGlu)),
        Box::new(|v| reference::swiglu(&v[0], 20)),
    ));
    all.push(case(
        "residual with layer scale".into(),
        vec![tokens(11, &[2, 3, 5], 1.0), tokens(12, &[2, 3, 5], 1.0), trained(13, &[5], 0.5)],
        Box::new(|t| residual(&t[0], &t[1], Some(&t[2]))),
        Box::new(|v| reference::residual(&v[0], &v[1], &v[2])),
    ));
    all.push(case(
        "cross entropy".into(),
        vec![trained(14, &[5, 5], 3.0)],
        Box::new(|t| cross_entropy(&t[0], &[0, 4, 2, 4, 1])),
        Box::new(|v| vec![reference::cross_entropy(&v[0], &[0, 4, 2, 4, 1])]),
    ));
    all.push(case(
        "distance from pretrained features".into(),
        vec![tokens(15, &[70, 24], 1.0), trained(17, &[24], 2.0)],
        Box::new(|t| penalty(&t[0], &t[0].zeros_like()?.detach(), &t[1])),
        Box::new(|v| vec![reference::miro(&v[0], &vec![0.0; v[0].len()], &v[1])]),
    ));
    all
}
