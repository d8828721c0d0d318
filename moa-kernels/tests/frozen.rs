//! Frozen parts of a block against the layers that they are made of.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Tensor, Var};
use common::{Arg, arg, check, tensor, values};
use moa_kernels::activation::Activation;
use moa_kernels::frozen::{Attention, Dense, Half, Mlp, Norm, norm_linear, stretch};
use moa_kernels::reference;

/// A frozen tensor: its numbers, and itself in the type of another.
struct Frozen(Arg);

impl Frozen {
    fn new(seed: u64, shape: &[usize], scale: f64) -> Self {
        Self(arg(seed, shape, scale))
    }

    fn like(&self, x: &Tensor) -> Tensor {
        tensor(&self.0.0, &self.0.1, x.dtype())
    }

    fn plain(&self) -> &[f64] {
        &self.0.0
    }
}

const SIZES: [(usize, usize); 2] = [(1, 3), (7, 4)];

#[test]
fn norm_and_linear() {
    for (rows, width) in SIZES {
        let [gamma, beta] = [1, 2].map(|seed| Frozen::new(seed, &[width], 1.0));
        let (w, b) = (Frozen::new(3, &[5, width], 0.5), Frozen::new(4, &[5], 1.0));
        check(
            "norm and linear",
            &[arg(5, &[rows, width], 2.0)],
            |t| {
                let norm = Norm { weight: gamma.like(&t[0]), bias: beta.like(&t[0]), eps: 1e-6 };
                let linear = Dense { weight: w.like(&t[0]), bias: Some(b.like(&t[0])) };
                norm_linear(&t[0], norm, linear)
            },
            |v| {
                let n = reference::layer_norm(&v[0], gamma.plain(), beta.plain(), 1e-6);
                reference::linear(&n, w.plain(), b.plain(), width)
            },
        );
    }
}

#[test]
fn attention_and_projection() {
    for (batch, tokens, queries, heads, scaled) in
        [(1, 1, 1, 1, false), (2, 5, 5, 3, true), (3, 17, 17, 2, false), (3, 17, 1, 2, true)]
    {
        let d = heads * 4;
        let (w, b) = (Frozen::new(6, &[d, d], 0.5), Frozen::new(7, &[d], 1.0));
        let gamma = Frozen::new(8, &[d], 1.0);
        check(
            "attention block",
            &[arg(9, &[batch, tokens, d], 1.0), arg(10, &[batch, tokens, 3 * d], 1.0)],
            |t| {
                let proj = Dense { weight: w.like(&t[0]), bias: Some(b.like(&t[0])) };
                let gamma = scaled.then(|| gamma.like(&t[0]));
                let queries = (queries < tokens).then_some(queries);
                let half = Attention { qkv: None, heads, proj, gamma, queries };
                stretch(&t[0], Some(&t[1]), vec![Half::Attention(half)])
            },
            |v| {
                let first = |rows: Vec<f64>| rows[..queries * d].to_vec();
                let images = v[1].chunks(tokens * 3 * d);
                let o: Vec<f64> =
                    images.flat_map(|i| first(reference::attention(i, tokens, heads))).collect();
                let x: Vec<f64> = v[0].chunks(tokens * d).flat_map(|x| first(x.to_vec())).collect();
                let y = reference::linear(&o, w.plain(), b.plain(), d);
                let ones = vec![1.0; d];
                reference::residual(&x, &y, if scaled { gamma.plain() } else { &ones })
            },
        );
    }
}

/// The parts of an MLP as wide as `x`.
struct Parts([Frozen; 7], Activation);

impl Parts {
    fn new(width: usize, activation: Activation) -> Self {
        Self::with(6, width, activation)
    }

    fn with(hidden: usize, width: usize, activation: Activation) -> Self {
        let inner = if activation == Activation::SwiGlu { hidden / 2 } else { hidden };
        Self(
            [
                Frozen::new(11, &[width], 1.0),
                Frozen::new(12, &[width], 1.0),
                Frozen::new(13, &[hidden, width], 0.5),
                Frozen::new(14, &[hidden], 1.0),
                Frozen::new(15, &[width, inner], 0.5),
                Frozen::new(16, &[width], 1.0),
                Frozen::new(17, &[width], 1.0),
            ],
            activation,
        )
    }

    fn half(&self, x: &Tensor, recompute: bool) -> Mlp {
        let [weight, bias, w1, b1, w2, b2, gamma] = self.0.each_ref().map(|p| p.like(x));
        Mlp {
            norm: Norm { weight, bias, eps: 1e-6 },
            fc1: Dense { weight: w1, bias: Some(b1) },
            activation: self.1,
            fc2: Dense { weight: w2, bias: Some(b2) },
            gamma: (self.1 != Activation::Gelu).then_some(gamma),
            recompute,
        }
    }

    fn plain(&self, x: &[f64], width: usize) -> Vec<f64> {
        let [gamma, beta, w1, b1, w2, b2, scale] = self.0.each_ref().map(|p| p.plain());
        let h = reference::linear(&reference::layer_norm(x, gamma, beta, 1e-6), w1, b1, width);
        let g: Vec<f64> = match self.1 {
            Activation::Gelu => h.iter().map(|&h| reference::gelu(h)).collect(),
            Activation::QuickGelu => h.iter().map(|&h| reference::quick_gelu(h)).collect(),
            Activation::SwiGlu => reference::swiglu(&h, b1.len() / 2),
        };
        let y = reference::linear(&g, w2, b2, w2.len() / width);
        let ones = vec![1.0; width];
        reference::residual(x, &y, if self.1 == Activation::Gelu { &ones } else { scale })
    }
}

#[test]
fn mlps() {
    for activation in [Activation::Gelu, Activation::QuickGelu, Activation::SwiGlu] {
        for (rows, width) in SIZES {
            for recompute in [false, true] {
                let parts = Parts::new(width, activation);
                check(
                    "mlp block",
                    &[arg(18, &[1, rows, width], 2.0)],
                    |t| stretch(&t[0], None, vec![Half::Mlp(parts.half(&t[0], recompute))]),
                    |v| parts.plain(&v[0], width),
                );
            }
        }
    }
}

/// Their rows are further apart than they are long.
#[test]
fn mlps_as_wide_as_a_cache() {
    for (activation, hidden) in [(Activation::Gelu, 1024), (Activation::SwiGlu, 2048)] {
        for recompute in [false, true] {
            let parts = Parts::with(hidden, 4, activation);
            check(
                "wide mlp block",
                &[arg(19, &[1, 3, 4], 2.0)],
                |t| stretch(&t[0], None, vec![Half::Mlp(parts.half(&t[0], recompute))]),
                |v| parts.plain(&v[0], 4),
            );
        }
    }
}

/// More tokens than are in memory at once.
#[test]
fn many_tokens_are_as_few() {
    let (parts, rows) = (Parts::new(4, Activation::SwiGlu), 2 * 2048 + 5);
    let all = tensor(&common::normal(21, rows * 4, 1.0), &[1, rows, 4], DType::F64);
    let linear = |x: &Tensor| {
        let Mlp { norm, fc1, .. } = parts.half(x, false);
        norm_linear(x, norm, fc1).unwrap()
    };
    let mlp = |recompute| {
        let parts = &parts;
        move |x: &Tensor| stretch(x, None, vec![Half::Mlp(parts.half(x, recompute))]).unwrap()
    };
    let ops: [&dyn Fn(&Tensor) -> Tensor; 3] = [&linear, &mlp(false), &mlp(true)];
    for op in ops {
        let run = |from: usize, len: usize| {
            let x = Var::from_tensor(&all.narrow(1, from, len).unwrap()).unwrap();
            let y = op(&x);
            let dx = values(y.sqr().unwrap().backward().unwrap().get(&x).unwrap());
            [values(&y), dx]
        };
        let [y, dx] = run(0, rows);
        for (from, len) in [(0, 1000), (2040, 20), (rows - 1000, 1000)] {
            let [some_y, some_dx] = run(from, len);
            let width = y.len() / rows;
            assert!(reference::worst(&y[from * width..][..len * width], &some_y) < 1e-12);
            assert!(reference::worst(&dx[from * 4..][..len * 4], &some_dx) < 1e-12);
        }
    }
}

/// A block and a half, with the width of the parts: two frozen ways into attention.
fn three(x: &Tensor, parts: &Parts, recompute: bool, queries: Option<usize>) -> Vec<Half> {
    let (w, b) = (Frozen::new(6, &[4, 4], 0.5), Frozen::new(7, &[4], 1.0));
    let (wq, bq) = (Frozen::new(22, &[12, 4], 0.5), Frozen::new(23, &[12], 1.0));
    let attention = |queries| {
        let qkv = Dense { weight: wq.like(x), bias: Some(bq.like(x)) };
        let proj = Dense { weight: w.like(x), bias: Some(b.like(x)) };
        let qkv = Some((parts.half(x, false).norm, qkv));
        Half::Attention(Attention { qkv, heads: 2, proj, gamma: None, queries })
    };
    vec![attention(None), Half::Mlp(parts.half(x, recompute)), attention(queries)]
}

/// Halves in a row are the same to the last bit as one by one, gradients too.
#[test]
fn a_stretch_is_its_halves_one_by_one() {
    let x = Var::from_tensor(&tensor(&common::normal(24, 3 * 5 * 4, 1.0), &[3, 5, 4], DType::F32));
    let (x, parts) = (x.unwrap(), Parts::new(4, Activation::QuickGelu));
    for queries in [None, Some(1), Some(4)] {
        let at_once = stretch(&x, None, three(&x, &parts, false, queries)).unwrap();
        let halves = three(&x, &parts, true, queries).into_iter();
        let one_by_one =
            halves.fold(x.as_tensor().clone(), |x, half| stretch(&x, None, vec![half]).unwrap());
        assert_eq!(at_once.dims(), [3, queries.unwrap_or(5), 4]);
        assert_eq!(values(&at_once), values(&one_by_one));
        let grad = |y: &Tensor| values(y.sqr().unwrap().backward().unwrap().get(&x).unwrap());
        assert_eq!(grad(&at_once), grad(&one_by_one));
    }
}

/// Keeping and computing again are the same to the last bit, as is a second backward
/// pass, which finds nothing kept.
#[test]
fn recomputed_gradients_are_the_kept_ones() {
    let x = Var::from_tensor(&tensor(&common::normal(19, 90 * 4, 1.0), &[10, 9, 4], DType::F32));
    let (x, parts) = (x.unwrap(), Parts::new(4, Activation::Gelu));
    let y = |recompute| stretch(&x, None, three(&x, &parts, recompute, None)).unwrap();
    let grad = |y: &Tensor| values(y.backward().unwrap().get(&x).unwrap());
    let kept = y(false);
    let first = grad(&kept);
    assert_eq!(first, grad(&y(true)));
    assert_eq!(first, grad(&kept));
}

#[test]
fn parts_that_do_not_fit_are_errors() {
    let x = tensor(&common::normal(20, 2 * 4, 1.0), &[1, 2, 4], DType::F32);
    let parts = Parts::new(4, Activation::Gelu);
    let mut wrong = parts.half(&x, false);
    wrong.activation = Activation::SwiGlu;
    assert!(stretch(&x, None, vec![Half::Mlp(wrong)]).is_err());
    let fits = parts.half(&x, false);
    assert!(norm_linear(&x, fits.norm.clone(), fits.fc2.clone()).is_err());
    let attention = |qkv, heads, proj: &Dense, queries| {
        let half = Attention { qkv, heads, proj: proj.clone(), gamma: None, queries };
        vec![Half::Attention(half)]
    };
    let square = Frozen::new(6, &[4, 4], 0.5).like(&x);
    let proj = Dense { weight: square, bias: None };
    let qkv = Tensor::cat(&[&x, &x, &x], 2).unwrap();
    assert!(stretch(&x, Some(&qkv), attention(None, 2, &proj, None)).is_ok());
    assert!(stretch(&x, Some(&qkv), attention(None, 2, &fits.fc2, None)).is_err());
    assert!(stretch(&x, Some(&x), attention(None, 2, &proj, None)).is_err());
    assert!(stretch(&x, None, attention(None, 2, &proj, None)).is_err());
    assert!(stretch(&x, Some(&qkv), attention(None, 3, &proj, None)).is_err());
    assert!(stretch(&x, Some(&qkv), attention(None, 2, &proj, Some(0))).is_err());
    assert!(stretch(&x, Some(&qkv), vec![Half::Mlp(fits)]).is_err());
}
