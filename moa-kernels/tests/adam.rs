//! Adam and AdamW against their formulas.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Result, Tensor, Var};
use common::{device, every_way, normal, tensor, values};
use moa_kernels::adam::{Item, Update, squares};
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
                let [value, mut first, mut second] = [&x, &m, &v].map(|t| tensor(t, &[n], dtype));
                let value = Var::from_tensor(&value).unwrap();
                for done in 0..3 {
                    let g = normal(2 + done, n, 0.5);
                    let update = Update { weight_decay, decoupled, done, ..BASE };
                    for i in 0..n {
                        reference(update, &mut x[i], g[i], &mut m[i], &mut v[i]);
                    }
                    let g = tensor(&g, &[n], dtype);
                    apply(&update, &value, &g, &mut first, &mut second).unwrap();
                }
                let found = [value.as_tensor(), &first, &second];
                for (found, wanted) in found.into_iter().zip([&x, &m, &v]) {
                    let gap = worst(&values(found), wanted);
                    assert!(gap < bound, "{dtype:?} ({way}), decay {weight_decay}: {gap:e}");
                }
            }
        }
    });
}

#[test]
fn many_tensors_at_once() {
    every_way(|way| {
        let sizes: Vec<usize> = (1..60).map(|i| i * i * 37 % 5000 + 1).collect();
        let all = |seed: u64| -> Vec<Tensor> {
            let one = |(i, &n): (usize, &usize)| normal(seed + i as u64, n, 1.0);
            let tensors = sizes.iter().enumerate().map(one);
            tensors.map(|t| tensor(&t, &[t.len()], DType::F32)).collect()
        };
        let vars =
            |seed| all(seed).iter().map(|t| Var::from_tensor(t).unwrap()).collect::<Vec<_>>();
        let (together, alone, gradients) = (vars(1), vars(1), all(100));
        let (mut m, mut v) = (all(200), all(300));
        let (mut m1, mut v1) = (all(200), all(300));
        for i in 0..sizes.len() {
            v[i] = v[i].sqr().unwrap();
            v1[i] = v[i].copy().unwrap();
            apply(&BASE, &alone[i], &gradients[i], &mut m1[i], &mut v1[i]).unwrap();
        }
        let moments = m.iter_mut().zip(&mut v);
        let items = together.iter().zip(&gradients).zip(moments);
        let items = items.map(|((value, gradient), (m, v))| Item { value, gradient, m, v });
        BASE.apply(&mut items.collect::<Vec<_>>()).unwrap();
        for (a, b) in together.iter().zip(&alone) {
            assert_eq!(values(a), values(b), "{way}");
        }
        let gradients: Vec<_> = gradients.iter().collect();
        for (sum, g) in squares(&gradients).unwrap().iter().zip(gradients) {
            let wanted: f64 = values(g).iter().map(|g| g * g).sum();
            assert!((sum / wanted - 1.0).abs() < 1e-12, "{way}: {sum} {wanted}");
        }
    });
}

fn apply(u: &Update, value: &Var, gradient: &Tensor, m: &mut Tensor, v: &mut Tensor) -> Result<()> {
    u.apply(&mut [Item { value, gradient, m, v }])
}

#[test]
fn tensors_that_do_not_fit_are_errors() {
    let [mut a, mut b] = [3, 4].map(|n| tensor(&vec![1.0; n], &[n], DType::F32));
    let (value, mut c) = (Var::from_tensor(&a).unwrap(), a.clone());
    assert!(apply(&BASE, &value, &b.clone(), &mut a, &mut c).is_err());
    assert!(apply(&BASE, &value, &c.clone(), &mut a, &mut b).is_err());
}
