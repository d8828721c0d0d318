//! Weights in panels compute what the same weights do by rows, to the bit.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Tensor, Var};
use common::{normal, tensor, values};
use moa_kernels::activation::Activation;
use moa_kernels::frozen::{Attention, Dense, Half, Mlp, Norm, norm_linear, stretch};
use moa_kernels::kronecker::{self, DropConnect, routed_kronecker};
use moa_kernels::linear::linear;
use moa_kernels::lora::{self, lora_by_router};
use moa_kernels::panels::{in_panels, in_rows};
use moa_kernels::router::{Choice, Noise, Router};
use moa_kernels::routing::Gating;

const WIDTH: usize = 64;

fn new(seed: u64, shape: &[usize]) -> Tensor {
    tensor(&normal(seed, shape.iter().product(), 0.3), shape, DType::F32)
}

/// In panels where the CPU has them.
fn dense(seed: u64, out: usize, width: usize, panels: bool) -> Dense {
    let weight = new(seed, &[out, width]);
    let weight = match in_panels(&weight).unwrap() {
        Some(in_panels) if panels => in_panels,
        _ => weight,
    };
    Dense { weight, bias: Some(new(seed + 1, &[out])) }
}

fn norm(seed: u64) -> Norm {
    Norm { weight: new(seed, &[WIDTH]), bias: new(seed + 1, &[WIDTH]), eps: 1e-6 }
}

fn block(panels: bool) -> Vec<Half> {
    let dense = |seed, out, width| dense(seed, out, width, panels);
    let attention = Attention {
        qkv: Some((norm(1), dense(3, 3 * WIDTH, WIDTH))),
        heads: 2,
        proj: dense(5, WIDTH, WIDTH),
        gamma: None,
        queries: None,
    };
    let mlp = Mlp {
        norm: norm(7),
        fc1: dense(9, 4 * WIDTH, WIDTH),
        activation: Activation::Gelu,
        fc2: dense(11, WIDTH, 4 * WIDTH),
        gamma: Some(new(13, &[WIDTH])),
        recompute: false,
    };
    vec![Half::Attention(attention), Half::Mlp(mlp)]
}

/// Two experts and a linear router whose gradients meet in `x`.
fn routed(x: &Tensor, panels: bool) -> Tensor {
    let Dense { weight, bias } = dense(31, 96, WIDTH, panels);
    let router = Router::Linear { weight: track(&new(33, &[2, WIDTH])) };
    let gating = Gating { top_k: 2, renormalise: true };
    let choice = Choice { gating, noise: Noise::Off, indices: None };
    let expert = |seed, rank| lora::Expert {
        down: new(seed, &[rank, WIDTH]),
        up: new(seed + 1, &[96, rank]),
    };
    let experts = [expert(34, 3), expert(36, 5)];
    let lora = lora_by_router(x, &weight, bias.as_ref(), &router, &choice, &experts, None, 1.5);
    let (y, routing) = lora.unwrap();
    let shared = kronecker::Shared { left: new(40, &[4, 4, 1]), right: new(41, &[4, 1, 4]) };
    let expert = |seed, rank| kronecker::Expert {
        left: new(seed, &[4, WIDTH / 4, rank]),
        right: new(seed + 1, &[4, rank, 24]),
    };
    let (experts, drop) = ([expert(42, 1), expert(44, 2)], DropConnect::Off);
    let other =
        routed_kronecker(x, &weight, None, &routing, &shared, &experts, bias.as_ref(), 1.0, drop);
    (y + other.unwrap()).unwrap()
}

fn track(t: &Tensor) -> Tensor {
    Var::from_tensor(t).unwrap().into_inner()
}

/// Few rows and many, with a gradient and without.
#[test]
fn same_bits_as_by_rows() {
    for tokens in [1, 5, 197, 900] {
        let x = Var::from_tensor(&new(20, &[2, tokens, WIDTH])).unwrap();
        let run = |panels: bool, tracked: bool| {
            let dense = dense(15, WIDTH, 96, panels);
            let start = if tracked { x.as_tensor().clone() } else { x.as_detached_tensor() };
            let y = stretch(&start, None, block(panels)).unwrap();
            let y = &y + norm_linear(&y, norm(1), self::dense(5, WIDTH, WIDTH, panels)).unwrap();
            let y = routed(&y.unwrap(), panels);
            let y = linear(&y, &dense.weight, dense.bias.as_ref()).unwrap();
            let grads = tracked.then(|| y.sqr().unwrap().backward().unwrap());
            (values(&y), grads.map(|grads| values(grads.get(&x).unwrap())))
        };
        let rows = run(false, true);
        assert!(rows == run(true, true), "{tokens} tokens");
        assert!(rows.0 == run(true, false).0, "{tokens} tokens");
    }
}

#[test]
fn what_cannot_be_in_panels_stays() {
    let weight = new(1, &[96, 5]);
    if let Some(panels) = in_panels(&weight).unwrap() {
        assert_eq!(panels.dims(), [3, 5, 32]);
        assert!(in_panels(&panels).unwrap().is_none());
        assert_eq!(values(&in_rows(&panels).unwrap()), values(&weight));
    }
    assert!(in_panels(&new(1, &[33, 5])).unwrap().is_none());
    assert!(in_panels(&weight.to_dtype(DType::F64).unwrap()).unwrap().is_none());
    assert!(in_panels(&new(1, &[32, 5, 1])).is_err());
    assert_eq!(in_rows(&weight).unwrap().dims(), [96, 5]);
}
