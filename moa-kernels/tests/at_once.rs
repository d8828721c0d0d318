//! A router and its LoRA layer at once against the same, one operation after the other: sizes
//! that fill no block, no warp and no 16 bytes, all types, choices that are forced, ties and NaN.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Tensor, Var};
use common::{every_way, kernels_run, normal, tensor, values};
use moa_kernels::linear::linear;
use moa_kernels::lora::{Expert, lora_by_router, routed_lora};
use moa_kernels::rng::{Key, Purpose};
use moa_kernels::router::{Choice, Noise, Router, cosine_scores, project};
use moa_kernels::routing::{Balance, Gating, Routing, Threshold, balance_loss, router_noise};

#[derive(Clone)]
struct Case {
    name: &'static str,
    tokens: usize,
    width: usize,
    out: usize,
    /// Of the projection; 0 for a linear router.
    p: usize,
    ranks: Vec<usize>,
    gating: Gating,
    /// Drawn.
    noise: bool,
    /// Experts are given.
    forced: bool,
    base_bias: bool,
    bias: bool,
    /// Tokens are every second column of what is there.
    strided: bool,
    /// Only the layer's result is used, or only the balance loss, or both.
    uses: [bool; 2],
    dtype: DType,
}

fn plain() -> Case {
    Case {
        name: "sizes of 16 bytes",
        tokens: 50,
        width: 48,
        out: 80,
        p: 24,
        ranks: vec![1, 2, 4, 8],
        gating: Gating { top_k: 2, renormalise: false },
        noise: true,
        forced: false,
        base_bias: true,
        bias: true,
        strided: false,
        uses: [true, true],
        dtype: DType::F32,
    }
}

fn cases() -> Vec<Case> {
    let one = Gating { top_k: 1, renormalise: false };
    let all = Gating { top_k: 4, renormalise: true };
    let odd = Case { tokens: 31, width: 13, out: 17, p: 5, ..plain() };
    let half = Case { noise: false, forced: true, ..plain() };
    vec![
        plain(),
        Case { name: "one token", tokens: 1, ..plain() },
        Case { name: "a block and a token", tokens: 17, gating: one, ..plain() },
        Case { name: "odd sizes", ..odd.clone() },
        Case { name: "odd sizes, one token", tokens: 1, gating: one, ..odd.clone() },
        Case { name: "all experts", gating: all, ..odd.clone() },
        Case { name: "no bias, no noise", base_bias: false, bias: false, noise: false, ..plain() },
        Case { name: "the layer's own bias", base_bias: false, ..plain() },
        Case { name: "linear router", p: 0, ..plain() },
        Case { name: "linear router, odd sizes", p: 0, forced: true, gating: one, ..odd.clone() },
        Case { name: "views", strided: true, ..plain() },
        Case { name: "forced", forced: true, gating: all, ..plain() },
        Case { name: "only the layer", uses: [true, false], ..plain() },
        Case { name: "only the balance loss", uses: [false, true], ..plain() },
        Case { name: "one expert", ranks: vec![3], gating: one, ..plain() },
        Case { name: "as many as go", ranks: vec![1; 16], p: 300, ..plain() },
        Case { name: "more experts", ranks: vec![1; 17], ..plain() },
        Case { name: "all ranks that go", ranks: vec![15, 16], ..plain() },
        Case { name: "more ranks", ranks: vec![16, 17], ..plain() },
        Case {
            name: "more tokens than blocks have",
            tokens: 16 * 256 + 3,
            width: 8,
            out: 8,
            p: 8,
            uses: [true, false],
            ..plain()
        },
        Case { name: "many columns", tokens: 20, out: 520, ..plain() },
        Case { name: "bf16", dtype: DType::BF16, ..half.clone() },
        Case { name: "f16", dtype: DType::F16, ..half.clone() },
        Case { name: "bf16, odd sizes", dtype: DType::BF16, noise: false, forced: true, ..odd },
        Case { name: "f16, linear router", dtype: DType::F16, p: 0, ..half },
    ]
}

/// A layer and everything that trains.
struct Layer {
    case: Case,
    vars: Vec<Var>,
    router: Router,
    experts: Vec<Expert>,
    x: Tensor,
    bias: Option<Tensor>,
    weight: Tensor,
    base_bias: Option<Tensor>,
    choice: Choice,
}

impl Layer {
    fn new(case: &Case) -> Self {
        let Case { tokens, width, out, p, ref ranks, .. } = *case;
        let experts = ranks.len();
        let mut vars = Vec::new();
        let make = |seed, shape: &[usize], scale, dtype| {
            tensor(&normal(seed, shape.iter().product(), scale), shape, dtype)
        };
        let mut var = |seed, shape: &[usize], scale| {
            vars.push(Var::from_tensor(&make(seed, shape, scale, DType::F32)).unwrap());
            vars[vars.len() - 1].as_tensor().clone()
        };
        let router = match p {
            0 => Router::Linear { weight: var(2, &[experts, width], 0.4) },
            _ => Router::Cosine {
                weight: var(2, &[p, width], 0.4),
                bias: Some(var(3, &[p], 0.2)),
                sim: var(4, &[p, experts], 0.5),
                temperature: var(5, &[1], 1.0),
            },
        };
        let pairs = ranks.iter().zip(10u64..);
        let pair = |(&r, seed)| (var(seed, &[r, width], 0.4), var(seed + 40, &[out, r], 0.6));
        let own = pairs.map(pair).map(|(down, up)| Expert { down, up }).collect();
        let bias = case.bias.then(|| var(6, &[out], 0.3));
        let columns = if case.strided { 2 * width } else { width };
        let x = make(1, &[1, tokens, columns], 1.0, case.dtype);
        vars.push(Var::from_tensor(&x).unwrap());
        let x = vars[vars.len() - 1].as_tensor().clone();
        let x = if case.strided { x.narrow(2, width, width).unwrap() } else { x };
        let key = Key::new(3, Purpose::RouterNoise, 7);
        let chosen = (0..tokens * case.gating.top_k).map(|i| {
            let (token, choice) = (i / case.gating.top_k, i % case.gating.top_k);
            ((token + choice) % experts) as f64
        });
        let shape = [tokens, case.gating.top_k];
        let forced = || tensor(&chosen.collect::<Vec<_>>(), &shape, DType::U32);
        Self {
            router,
            experts: own,
            bias,
            x,
            vars,
            weight: make(7, &[out, width], 0.3, case.dtype),
            base_bias: case.base_bias.then(|| make(8, &[out], 0.3, case.dtype)),
            choice: Choice {
                gating: case.gating,
                noise: match case.noise {
                    true => Noise::Seeded { key, layer: 9, std: 0.25 },
                    false => Noise::Off,
                },
                indices: case.forced.then(forced),
            },
            case: case.clone(),
        }
    }

    fn at_once(&self) -> (Tensor, Routing) {
        let (x, w, base, bias) = (&self.x, &self.weight, self.base_bias.as_ref(), &self.bias);
        let (router, choice) = (&self.router, &self.choice);
        lora_by_router(x, w, base, router, choice, &self.experts, bias.as_ref(), 1.5).unwrap()
    }

    fn apart(&self) -> (Tensor, Routing) {
        let (scores, shared) = match &self.router {
            Router::Linear { weight } => {
                let (z, shared) = project(&self.x, weight, None, None).unwrap();
                (z.flatten_to(1).unwrap(), shared)
            }
            Router::Cosine { weight, bias, sim, temperature } => {
                let (z, shared) = project(&self.x, weight, bias.as_ref(), None).unwrap();
                (cosine_scores(&z, sim, temperature).unwrap(), shared)
            }
        };
        let gating = self.choice.gating;
        let routing = match (&self.choice.indices, &self.choice.noise) {
            (Some(indices), _) => {
                let scores = scores.to_dtype(DType::F32).unwrap();
                Routing::chosen(&scores, indices, gating).unwrap()
            }
            (_, &Noise::Seeded { key, layer, std }) => {
                let (shape, dtype) = (scores.dims2().unwrap(), scores.dtype());
                let noise = router_noise(key, layer, shape, std, dtype, scores.device()).unwrap();
                Routing::new(&scores, Some(&noise), gating).unwrap()
            }
            _ => Routing::new(&scores, None, gating).unwrap(),
        };
        let (routing, base) = (routing.sharing(shared), self.base_bias.as_ref());
        let (x, w, bias) = (&self.x, &self.weight, self.bias.as_ref());
        (routed_lora(x, w, base, &routing, &self.experts, bias, 1.5).unwrap(), routing)
    }

    /// Everything that comes out, with the gradients of all that trains.
    fn all(&self, (y, routing): (Tensor, Routing)) -> Vec<(String, Vec<f64>)> {
        let balance = Balance { weight: 3.0, noise_std: 0.25, threshold: Threshold::Kth };
        let weights = tensor(&normal(99, y.elem_count(), 1.0), y.dims(), y.dtype());
        let sum = (&y * weights).unwrap().sum_all().unwrap().to_dtype(DType::F32).unwrap();
        let loss = match self.case.uses {
            [true, false] => sum,
            [false, _] => balance_loss(&routing, balance).unwrap(),
            _ => (sum + balance_loss(&routing, balance).unwrap()).unwrap(),
        };
        let grads = loss.backward().unwrap();
        let Routing { scores, probs, indices, gates, .. } = routing;
        let results = [y, scores, probs, indices, gates];
        let mut all: Vec<_> =
            results.iter().enumerate().map(|(i, t)| (format!("result {i}"), values(t))).collect();
        for (i, var) in self.vars.iter().enumerate() {
            let grad = grads.get(var).map_or(vec![0.0; var.elem_count()], values);
            all.push((format!("gradient {i} {:?}", var.shape()), grad));
        }
        all
    }
}

/// The length of the difference over that of what is wanted.
fn distance(got: &[f64], wanted: &[f64]) -> f64 {
    let length = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    length(&mut got.iter().zip(wanted).map(|(a, b)| a - b))
        / length(&mut wanted.iter().copied()).max(1e-3)
}

#[test]
fn the_same_as_apart() {
    every_way(|way| {
        for case in cases() {
            let half = case.dtype != DType::F32;
            if half && !kernels_run() {
                continue;
            }
            let layer = Layer::new(&case);
            let (got, wanted) = (layer.all(layer.at_once()), layer.all(layer.apart()));
            for ((what, got), (_, wanted)) in got.iter().zip(&wanted) {
                let gap = distance(got, wanted);
                let bound = if half { 2e-2 } else { 2e-4 };
                assert!(gap < bound, "{} ({way}): {what} is off by {gap:e}", case.name);
            }
        }
    });
}

/// What is not wanted changes nothing of the rest.
#[test]
fn without_gradients_and_once_more() {
    every_way(|way| {
        let mut layer = Layer::new(&plain());
        let first = layer.all(layer.at_once());
        assert_eq!(first, layer.all(layer.at_once()), "{way}");
        let mut constant = |t: &mut Tensor| *t = t.detach();
        constant(&mut layer.x);
        layer.bias.iter_mut().for_each(&mut constant);
        for expert in &mut layer.experts {
            [&mut expert.down, &mut expert.up].into_iter().for_each(&mut constant);
        }
        let (y, _) = layer.at_once();
        assert_eq!(values(&y), first[0].1, "{way}: the router trains");
        if let Router::Cosine { weight, bias, sim, temperature } = &mut layer.router {
            [weight, sim, temperature].into_iter().chain(bias).for_each(&mut constant);
        }
        let (y, routing) = layer.at_once();
        assert_eq!(values(&y), first[0].1, "{way}: nothing trains");
        assert!(!y.track_op() && !routing.scores.track_op());
    });
}

#[test]
fn ties_and_numbers_that_are_none() {
    every_way(|way| {
        let mut layer = Layer::new(&Case { noise: false, ..plain() });
        let (sane, _) = layer.at_once();
        // The last token has no numbers, and the one before it no direction.
        let (rows, width) = (layer.case.tokens - 2, layer.case.width);
        let x = layer.x.narrow(1, 0, rows).unwrap();
        let zero = tensor(&vec![0.0; width], &[1, 1, width], DType::F32);
        let none = tensor(&vec![f64::NAN; width], &[1, 1, width], DType::F32);
        layer.x = Tensor::cat(&[&x, &zero, &none], 1).unwrap();
        if let Router::Cosine { bias, .. } = &mut layer.router {
            *bias = None;
        }
        let (y, routing) = layer.at_once();
        let k = layer.case.gating.top_k;
        let indices = values(&routing.indices);
        assert!(indices.iter().all(|&e| e < 4.0), "{way}");
        if way != "tensors" {
            assert_eq!(indices[rows * k..], [0.0, 1.0, 0.0, 1.0], "{way}: the first of equals");
        }
        let out = values(&y);
        assert!(out[..rows * layer.case.out].iter().all(|v| v.is_finite()), "{way}");
        assert_eq!(out.len(), values(&sane).len());
        let scores = values(&routing.scores);
        assert!(scores[rows * 4..][..4].iter().all(|&s| s == 0.0), "{way}: {scores:?}");
    });
}

#[test]
fn one_expert_without_a_router() {
    every_way(|way| {
        for ranks in [vec![5], vec![16], vec![40]] {
            let layer = Layer::new(&Case { ranks, ..plain() });
            let (x, w, base) = (&layer.x, &layer.weight, layer.base_bias.as_ref());
            let (expert, bias) = (&layer.experts[0], layer.bias.as_ref());
            let single = Routing::single(x, layer.case.tokens).unwrap();
            let one = std::slice::from_ref(expert);
            let got = routed_lora(x, w, base, &single, one, bias, 1.5).unwrap();
            let h = linear(x, &expert.down, None).unwrap();
            let more = (linear(&h, &expert.up, bias.map(|b| (b / 1.5).unwrap()).as_ref()).unwrap()
                * 1.5)
                .unwrap();
            let wanted = (linear(x, w, base).unwrap() + more).unwrap();
            let c = tensor(&normal(99, got.elem_count(), 1.0), got.dims(), DType::F32);
            let grads = |y: &Tensor| {
                let grads = (y * &c).unwrap().sum_all().unwrap().backward().unwrap();
                let of = |var: &Var| grads.get(var).map(values);
                layer.vars.iter().map(of).collect::<Vec<_>>()
            };
            assert!(distance(&values(&got), &values(&wanted)) < 1e-5, "{way}");
            for (i, (got, wanted)) in grads(&got).iter().zip(grads(&wanted)).enumerate() {
                let (Some(got), Some(wanted)) = (got, wanted) else { continue };
                let gap = distance(got, &wanted);
                assert!(gap < 1e-4, "{way}: gradient {i} is off by {gap:e}");
            }
        }
    });
}

#[test]
fn what_does_not_fit_is_an_error() {
    every_way(|_| {
        let layer = Layer::new(&plain());
        let (x, w, one) = (&layer.x, &layer.weight, &layer.experts);
        let run = |choice: &Choice, x: &Tensor| {
            lora_by_router(x, w, None, &layer.router, choice, one, None, 1.0).is_err()
        };
        let choice = |top_k, noise, indices| {
            let gating = Gating { top_k, renormalise: false };
            Choice { gating, noise, indices }
        };
        assert!(run(&choice(0, Noise::Off, None), x));
        assert!(run(&choice(5, Noise::Off, None), x));
        let wrong = tensor(&[0.0; 6], &[3, 2], DType::F32);
        assert!(run(&choice(2, Noise::Given(wrong.clone()), None), x));
        assert!(run(&choice(2, Noise::Off, Some(wrong.to_dtype(DType::U32).unwrap())), x));
        assert!(run(&choice(2, Noise::Off, None), &x.narrow(2, 0, 40).unwrap()));
        let few = lora_by_router(x, w, None, &layer.router, &layer.choice, &one[..3], None, 1.0);
        assert!(few.is_err());
    });
}
