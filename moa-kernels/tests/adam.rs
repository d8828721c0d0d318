//! Adam and AdamW against their formulas.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::DType;
use common::{device, every_way, normal, tensor, values};
use moa_kernels::adam::Update;
use moa_kernels::reference::worst;

const BASE: Update = Update {
    lr: 0.03,
    beta1: 0.9,
    beta2: 0.99,
    eps: 1e-8,
    weight_decay: 0.0,
    decoupled: false,
    done: 0,
};

/// PyTorch's documentation of `torch.optim.Adam` and `AdamW`, line by line.
fn reference(u: Update, x: &mut f64, g: f64, m: &mut f64, v: &mut f64) {
    let mut g = g;
    match u.decoupled {
        true => *x -= u.lr * u.weight_decay * *x,
        false => g += u.weight_decay * *x,
    }
    *m = u.beta1 * *m + (1.0 - u.beta1) * g;
    *v = u.beta2 * *v + (1.0 - u.beta2) * g * g;
    let steps = u.done as i32 + 1;
    let (first, second) = (*m / (1.0 - u.beta1.powi(steps)), *v / (1.0 - u.beta2.powi(steps)));
    *x -= u.lr * first / (second.sqrt() + u.eps);
}

#[test]
fn three_updates() {
    every_way(|way| {
        for (dtype, bound) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
            if dtype == DType::F64 && !device().is_cpu() {
                continue; // trained tensors on a device are `f32`
            }
            for (weight_decay, decoupled) in [(0.0, false), (0.1, false), (0.1, true)] {
                let n = 20_011;
                let mut x = normal(1, n, 1.0);
                let (mut m, mut v) = (vec![0.0; n], vec![0.0; n]);
                let mut found = [&x, &m, &v].map(|t| tensor(t, &[n], dtype));
                for done in 0..3 {
                    let g = normal(2 + done, n, 0.5);
                    let update = Update { weight_decay, decoupled, done, ..BASE };
                    for i in 0..n {
                        reference(update, &mut x[i], g[i], &mut m[i], &mut v[i]);
                    }
                    let g = tensor(&g, &[n], dtype);
                    let (a, b, c) = update.apply(&found[0], &g, (&found[1], &found[2])).unwrap();
                    found = [a, b, c];
                }
                for (found, wanted) in found.iter().zip([&x, &m, &v]) {
                    let gap = worst(&values(found), wanted);
                    assert!(gap < bound, "{dtype:?} ({way}), decay {weight_decay}: {gap:e}");
                }
            }
        }
    });
}

#[test]
fn tensors_that_do_not_fit_are_errors() {
    let [a, b] = [3, 4].map(|n| tensor(&vec![1.0; n], &[n], DType::F32));
    assert!(BASE.apply(&a, &b, (&a, &a)).is_err());
    assert!(BASE.apply(&a, &a, (&a, &b)).is_err());
}
