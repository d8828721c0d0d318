//! The kernels' own sources, run on the CPU: see `common/shim`. Ignored where there is no
//! compiler of C++; the other tests then leave this way of running out.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor, Var};
use common::{kernels_run, normal, runs_sources, shim, tensor, values};
use libtest_mimic::{Arguments, Trial};
use moa_kernels::kronecker::{self, DropConnect, Shared, routed_kronecker};
use moa_kernels::reference::{self, Adapter, Router, worst};
use moa_kernels::rng::{Key, Purpose};
use moa_kernels::routing::{Gating, Routing, router_noise};
use moa_kernels::selfcheck;

fn main() {
    let tests: [(&str, fn()); 4] = [
        ("all_operations", all_operations),
        ("many_tokens_of_many_experts", many_tokens_of_many_experts),
        ("random_numbers", random_numbers),
        ("several_tiles_of_each_expert", several_tiles_of_each_expert),
    ];
    let cuda = |(name, test): (&str, fn())| {
        let run = move || {
            shim::on_the_shim(|_| test());
            Ok(())
        };
        Trial::test(format!("sources_{name}"), run).with_ignored_flag(!runs_sources("cuda"))
    };
    let metal = |(name, test): (&str, fn())| {
        let run = move || {
            shim::on_the_metal_shim(|_| test());
            Ok(())
        };
        Trial::test(format!("metal_sources_{name}"), run).with_ignored_flag(!runs_sources("metal"))
    };
    let trials = tests.map(cuda).into_iter().chain(tests.map(metal)).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// What `moa-infer selfcheck` does on a device, in all types that kernels take.
fn all_operations() {
    assert!(kernels_run());
    let dtypes = [DType::F32, DType::BF16, DType::F16];
    for row in selfcheck::run(&Device::Cpu, &dtypes, 2) {
        assert!(row.passed(), "{row:?}");
    }
}

/// Several pairs for each thread that orders them; some experts get none.
fn many_tokens_of_many_experts() {
    const EXPERTS: usize = 16;
    let (t, a, b, tokens, top_k) = (2, 1, 2, 700, 2);
    let mut scores = normal(1, tokens * EXPERTS, 1.0);
    for row in scores.chunks_mut(EXPERTS) {
        [0, 7, 15].iter().for_each(|&e| row[e] = -9.0);
    }
    let make = |seed, shape: &[usize]| normal(seed, shape.iter().product(), 0.7);
    let (x, w) = (make(2, &[tokens, t * a]), make(3, &[t * b, t * a]));
    let (s, v) = (make(4, &[t, t]), make(5, &[t, t]));
    let factors: Vec<_> =
        (0..EXPERTS as u64).map(|e| (make(10 + e, &[t, a, 1]), make(40 + e, &[t, 1, b]))).collect();
    let f32 = |values: &[f64], shape: &[usize]| tensor(values, shape, DType::F32);
    let gating = Gating { top_k, renormalise: false };
    let routing = Routing::new(&f32(&scores, &[tokens, EXPERTS]), None, gating).unwrap();
    let shared = Shared { left: f32(&s, &[t, t, 1]), right: f32(&v, &[t, 1, t]) };
    let experts: Vec<_> = factors
        .iter()
        .map(|(left, right)| kronecker::Expert {
            left: f32(left, &[t, a, 1]),
            right: f32(right, &[t, 1, b]),
        })
        .collect();
    let (x_, w_) = (f32(&x, &[tokens, t * a]), f32(&w, &[t * b, t * a]));
    let off = DropConnect::Off;
    let y = routed_kronecker(&x_, &w_, None, &routing, &shared, &experts, None, 1.0, off).unwrap();

    let adapter = |(left, right): &(Vec<f64>, Vec<f64>)| Adapter::Kronecker {
        s: s.clone(),
        v: v.clone(),
        left: left.clone(),
        right: right.clone(),
        keep: Vec::new(),
        factor: 1.0,
    };
    let layer = reference::Layer {
        weight: w.clone(),
        bias: vec![0.0; t * b],
        router: Router::Given { scores },
        experts: factors.iter().map(adapter).collect(),
        top_k,
        renormalise: false,
        scale: 1.0,
        noise_std: 1.0,
        aux_weight: 0.0,
        max_threshold: false,
    };
    let gap = worst(&values(&y), &layer.forward(&x, t * a, &[]).y);
    assert!(gap < 2e-4, "{gap:e}");
}

/// Noise as close to the processor's as single precision is; the same entries dropped.
fn random_numbers() {
    let key = Key::new(4, Purpose::RouterNoise, 6);
    let draw = |dtype| values(&router_noise(key, 9, (61, 7), 0.25, dtype, &Device::Cpu).unwrap());
    let gap = worst(&draw(DType::F32), &draw(DType::F64));
    assert!(gap < 1e-6, "{gap:e}");

    let (t, a, b, experts) = (3, 5, 7, 3);
    let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
    let shared = Shared { left: ones(&[t, t, 1]), right: ones(&[t, 1, t]) };
    let expert = || kronecker::Expert { left: ones(&[t, a, 1]), right: ones(&[t, 1, b]) };
    let all: Vec<_> = (0..experts).map(|_| expert()).collect();
    let (width, out) = (t * a, t * b);
    let key = Key::new(4, Purpose::DropConnect, 6);
    // Rows of the unit matrix, through each expert in turn, are what is left of its delta.
    let unit = Tensor::eye(width, DType::F32, &Device::Cpu).unwrap();
    let none = Tensor::zeros((out, width), DType::F32, &Device::Cpu).unwrap();
    for e in 0..experts {
        let mut scores = vec![0.0; width * experts];
        scores.chunks_mut(experts).for_each(|row| row[e] = 50.0);
        let scores = tensor(&scores, &[width, experts], DType::F32);
        let routing = Routing::new(&scores, None, Gating { top_k: 1, renormalise: false }).unwrap();
        let drop = DropConnect::Seeded { key, layer: 9, p: 0.25 };
        let y = routed_kronecker(&unit, &none, None, &routing, &shared, &all, None, 1.0, drop);
        let kept: Vec<u8> = values(&y.unwrap()).iter().map(|&v| u8::from(v != 0.0)).collect();
        let wanted = kronecker::keep_mask(key, 9, e as u8, 0.25, width * out);
        assert_eq!(kept, wanted, "expert {e}");
    }
}

/// Experts of several tiles, of one that is not full and of none: values and gradients are those of
/// the CPU's own operations in `f64`. Sides are and are not whole tiles, or steps of a product.
fn several_tiles_of_each_expert() {
    const TOLERANCES: [(DType, f64); 3] =
        [(DType::F32, 1e-5), (DType::F16, 4e-3), (DType::BF16, 3e-2)];
    for (t, a, b, tokens, top_k) in [(4, 12, 34, 420, 1), (4, 34, 2, 150, 2)] {
        // Outside, nothing runs the kernels.
        let all = move |dtype| values_and_gradients((t, a, b), tokens, top_k, dtype);
        let wanted = std::thread::spawn(move || all(DType::F64)).join().unwrap();
        for (dtype, tolerance) in TOLERANCES {
            for (i, (got, wanted)) in all(dtype).iter().zip(&wanted).enumerate() {
                let gap = worst(got, wanted);
                assert!(gap < tolerance, "{i} in {dtype:?}, {top_k} of 4 experts: {gap:e}");
            }
        }
    }
}

/// Of a layer with four Kronecker experts, one of which gets no tokens, and another most.
fn values_and_gradients(
    (t, a, b): (usize, usize, usize),
    tokens: usize,
    top_k: usize,
    dtype: DType,
) -> Vec<Vec<f64>> {
    let (width, out, experts) = (t * a, t * b, 4);
    // Numbers that every type has.
    let make = |seed, shape: &[usize], scale: f64| {
        let coarse = |v: &f64| (v * scale * 64.0).round() / 64.0;
        let values: Vec<f64> =
            normal(seed, shape.iter().product(), 1.0).iter().map(coarse).collect();
        tensor(&values, shape, dtype)
    };
    let var = |seed, shape: &[usize], scale| Var::from_tensor(&make(seed, shape, scale)).unwrap();
    let scores: Vec<f64> = (0..tokens)
        .flat_map(|i| match i % 5 {
            0 => [1.0, 0.5, -9.0, 0.25],
            1 => [0.25, 0.5, -9.0, 1.0],
            _ => [0.5, 1.0, -9.0, 0.25],
        })
        .collect();
    let scores = Var::from_tensor(&tensor(&scores, &[tokens, experts], dtype)).unwrap();
    let (x, w) = (var(1, &[tokens, width], 1.0), make(2, &[out, width], 0.2));
    let shared = [var(3, &[t, t, 1], 0.7), var(4, &[t, 1, t], 0.7)];
    let factors: Vec<_> =
        (5..9).map(|seed| [var(seed, &[t, a, 2], 0.5), var(seed + 10, &[t, 2, b], 0.5)]).collect();
    let routing = Routing::new(&scores, None, Gating { top_k, renormalise: false }).unwrap();
    let own: Vec<_> = factors
        .iter()
        .map(|[left, right]| kronecker::Expert {
            left: left.as_tensor().clone(),
            right: right.as_tensor().clone(),
        })
        .collect();
    let [left, right] = shared.clone().map(|v| v.as_tensor().clone());
    let (shared_, off) = (Shared { left, right }, DropConnect::Off);
    let y = routed_kronecker(&x, &w, None, &routing, &shared_, &own, None, 1.0, off).unwrap();
    let c = make(30, &[tokens, out], 1.0);
    let grads = (&y * &c).unwrap().sum_all().unwrap().backward().unwrap();
    let mut all = vec![values(&y)];
    let vars = [x, scores].into_iter().chain(shared).chain(factors.into_iter().flatten());
    all.extend(vars.map(|var| values(grads.get(&var).unwrap())));
    all
}
