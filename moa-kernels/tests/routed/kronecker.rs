//! What only Kronecker experts have.

use crate::case::{Case, OUT, PLAIN, STD, TOKENS, WIDTH};
use crate::common::{arg, check, tensor, values};
use candle_core::{DType, Tensor};
use moa_kernels::kronecker::{self, DropConnect, Shared, routed_kronecker};
use moa_kernels::reference::{self, Adapter, Router};
use moa_kernels::routing::{Gating, Routing};
use std::sync::Arc;

/// More columns than a warp has lanes.
#[test]
fn kronecker_experts_of_many_columns() {
    let (tokens, t, a, b, ranks) = (5, 2, 3, 37, [2, 1]);
    let (width, out) = (t * a, t * b);
    let mut args = vec![
        arg(60, &[tokens, width], 1.0),
        arg(61, &[tokens, 2], 1.0),
        arg(62, &[t, t, 1], 0.7),
        arg(63, &[t, 1, t], 0.7),
    ];
    for (&r, seed) in ranks.iter().zip(64u64..) {
        args.push(arg(seed, &[t, a, r], 0.6));
        args.push(arg(seed + 10, &[t, r, b], 0.6));
    }
    let gating = Gating { top_k: 2, renormalise: false };
    let op = |v: &[Tensor]| {
        let weight = tensor(&vec![0.0; width * out], &[out, width], v[0].dtype());
        let shared = Shared { left: v[2].clone(), right: v[3].clone() };
        let pair = |p: &[Tensor]| kronecker::Expert { left: p[0].clone(), right: p[1].clone() };
        let experts: Vec<_> = v[4..].chunks(2).map(pair).collect();
        let (routing, off) = (Routing::new(&v[1], None, gating)?, DropConnect::Off);
        routed_kronecker(&v[0], &weight, None, &routing, &shared, &experts, None, 1.0, off)
    };
    let plain = |v: &[Vec<f64>]| {
        let expert = |p: &[Vec<f64>]| Adapter::Kronecker {
            s: v[2].clone(),
            v: v[3].clone(),
            left: p[0].clone(),
            right: p[1].clone(),
            keep: Vec::new(),
            factor: 1.0,
        };
        let layer = reference::Layer {
            weight: vec![0.0; width * out],
            bias: vec![0.0; out],
            router: Router::Given { scores: v[1].clone() },
            experts: v[4..].chunks(2).map(expert).collect(),
            top_k: 2,
            renormalise: false,
            scale: 1.0,
            noise_std: STD,
            aux_weight: 0.0,
            max_threshold: false,
        };
        layer.forward(&v[0], width, &[]).y
    };
    check("routed: kronecker, many columns", &args, op, plain);
}

#[test]
fn materialised_delta_is_what_the_layer_adds() {
    let case = Case { kronecker: true, noise: false, ..PLAIN };
    let args = case.args();
    let t: Vec<Tensor> = args.iter().map(|a| tensor(&a.0, &a.1, DType::F64)).collect();
    let rest = &t[case.router_args()..];
    let shared = Shared { left: rest[0].clone(), right: rest[1].clone() };
    let expert = kronecker::Expert { left: rest[2].clone(), right: rest[3].clone() };
    let weight = tensor(&case.weight(), &[OUT, WIDTH], DType::F64);
    let routing = Routing::single(&t[0], TOKENS).unwrap();
    let one = std::slice::from_ref(&expert);
    let off = DropConnect::Off;
    let y = routed_kronecker(&t[0], &weight, None, &routing, &shared, one, None, 1.0, off).unwrap();
    let merged = (weight.t().unwrap() + kronecker::materialise(&shared, &expert).unwrap()).unwrap();
    let wanted = values(&t[0].matmul(&merged).unwrap());
    assert!(reference::worst(&values(&y), &wanted) < 1e-12);
}

#[test]
fn seeded_and_given_masks_agree() {
    use moa_kernels::rng::{Key, Purpose};
    let case = Case { kronecker: true, ..PLAIN };
    let args = case.args();
    let t: Vec<Tensor> = args.iter().map(|a| tensor(&a.0, &a.1, DType::F64)).collect();
    let (routing, rest) = (case.routing(&t).unwrap(), &t[case.router_args()..]);
    let shared = Shared { left: rest[0].clone(), right: rest[1].clone() };
    let pair = |p: &[Tensor]| kronecker::Expert { left: p[0].clone(), right: p[1].clone() };
    let experts: Vec<_> = rest[2..8].chunks(2).map(pair).collect();
    let weight = tensor(&case.weight(), &[OUT, WIDTH], DType::F64);
    let key = Key::new(4, Purpose::DropConnect, 6);
    let keep = (0..3).flat_map(|e| kronecker::keep_mask(key, 9, e, 0.5, WIDTH * OUT)).collect();
    let run = |drop| {
        let y =
            routed_kronecker(&t[0], &weight, None, &routing, &shared, &experts, None, 1.0, drop);
        values(&y.unwrap())
    };
    let seeded = run(DropConnect::Seeded { key, layer: 9, p: 0.5 });
    assert_eq!(seeded, run(DropConnect::Given { keep: Arc::new(keep), p: 0.5 }));
    assert_ne!(seeded, run(DropConnect::Off));
}
