//! Routers, gates, the balance loss and both kinds of experts against the
//! token-by-token reference, one case per rule of the method.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Result, Tensor};
use common::{Arg, arg, check, normal, tensor, values};
use moa_kernels::kronecker::{self, DropConnect, Shared, routed_kronecker};
use moa_kernels::lora::{self, lora_by_router, routed_lora};
use moa_kernels::reference::{self, Adapter, Router};
use moa_kernels::router::{self, Choice, Noise, cosine_scores, project};
use moa_kernels::routing::{Balance, Gating, Routing, Threshold, balance_loss};
use std::sync::Arc;

/// One rule of the method.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    kronecker: bool,
    cosine: bool,
    top_k: usize,
    renormalise: bool,
    noise: bool,
    dropped: bool,
    max_threshold: bool,
    temperature: f64,
    /// The layer shares no work with the router's projection.
    alone: bool,
}

const PLAIN: Case = Case {
    name: "plain",
    kronecker: false,
    cosine: true,
    top_k: 1,
    renormalise: false,
    noise: true,
    dropped: false,
    max_threshold: false,
    temperature: 0.7,
    alone: false,
};

const CASES: &[Case] = &[
    PLAIN,
    Case { name: "evaluation", noise: false, ..PLAIN },
    Case { name: "linear router", cosine: false, ..PLAIN },
    Case { name: "alone", alone: true, ..PLAIN },
    Case { name: "alone, linear router", alone: true, cosine: false, ..PLAIN },
    Case { name: "top 2", top_k: 2, ..PLAIN },
    Case { name: "top 2 renormalised", top_k: 2, renormalise: true, ..PLAIN },
    Case {
        name: "all renormalised, max",
        top_k: 3,
        renormalise: true,
        max_threshold: true,
        ..PLAIN
    },
    Case { name: "temperature above the cap", temperature: 5.0, noise: false, ..PLAIN },
    Case { name: "kronecker", kronecker: true, ..PLAIN },
    Case { name: "kronecker, drop connect", kronecker: true, dropped: true, ..PLAIN },
    Case {
        name: "kronecker, linear, top 2 renormalised, drop connect",
        kronecker: true,
        cosine: false,
        top_k: 2,
        renormalise: true,
        dropped: true,
        ..PLAIN
    },
];

const TOKENS: usize = 11;
const WIDTH: usize = 12;
const OUT: usize = 18;
const T: usize = 3;
const P: usize = 5;
const RANKS: [usize; 3] = [1, 4, 2];
const STD: f64 = 1.0 / 3.0;

impl Case {
    fn args(&self) -> Vec<Arg> {
        let mut args = vec![arg(1, &[TOKENS, WIDTH], 1.0)];
        if self.cosine {
            args.push(arg(2, &[P, WIDTH], 0.4));
            args.push(arg(3, &[P], 0.2));
            args.push(arg(4, &[P, RANKS.len()], 0.5));
            args.push(Arg(vec![self.temperature], vec![1]));
        } else {
            args.push(arg(2, &[RANKS.len(), WIDTH], 0.4));
        }
        if self.kronecker {
            args.push(arg(5, &[T, T, 1], 0.7));
            args.push(arg(6, &[T, 1, T], 0.7));
        }
        for (e, &r) in RANKS.iter().enumerate() {
            let seed = 10 + e as u64;
            if self.kronecker {
                args.push(arg(seed, &[T, WIDTH / T, r], 0.6));
                args.push(arg(seed + 10, &[T, r, OUT / T], 0.6));
            } else {
                args.push(arg(seed, &[r, WIDTH], 0.4));
                args.push(arg(seed + 10, &[OUT, r], 0.6));
            }
        }
        args.push(arg(7, &[OUT], 0.3));
        args
    }

    fn weight(&self) -> Vec<f64> {
        normal(50, OUT * WIDTH, 0.3)
    }

    fn noise(&self) -> Vec<f64> {
        if self.noise { normal(51, TOKENS * RANKS.len(), STD) } else { Vec::new() }
    }

    fn keep(&self) -> Vec<u8> {
        let coins = normal(52, RANKS.len() * WIDTH * OUT, 1.0);
        coins.iter().map(|&z| u8::from(z > 0.0)).collect()
    }

    fn gating(&self) -> Gating {
        Gating { top_k: self.top_k, renormalise: self.renormalise }
    }

    fn routing(&self, t: &[Tensor]) -> Result<Routing> {
        let rest = &t[self.router_args()..];
        let downs = match rest {
            [first, _, second, _, third, ..] if !self.kronecker => {
                Some(Tensor::cat(&[first, second, third], 0)?)
            }
            _ => None,
        };
        let (z, shared) = project(&t[0], &t[1], self.cosine.then(|| &t[2]), downs.as_ref())?;
        let scores = if self.cosine { cosine_scores(&z, &t[3], &t[4])? } else { z };
        let noise = self.noise.then(|| tensor(&self.noise(), scores.dims(), scores.dtype()));
        let routing = Routing::new(&scores, noise.as_ref(), self.gating())?;
        Ok(if self.alone { routing } else { routing.sharing(shared) })
    }

    fn router(&self, t: &[Tensor]) -> router::Router {
        let weight = t[1].clone();
        match self.cosine {
            false => router::Router::Linear { weight },
            true => router::Router::Cosine {
                weight,
                bias: Some(t[2].clone()),
                sim: t[3].clone(),
                temperature: t[4].clone(),
            },
        }
    }

    fn choice(&self) -> Choice {
        let noise = || tensor(&self.noise(), &[TOKENS, RANKS.len()], DType::F64);
        let noise = if self.noise { Noise::Given(noise()) } else { Noise::Off };
        Choice { gating: self.gating(), noise, indices: None }
    }

    /// The router and what it routes for at once.
    fn at_once(&self, t: &[Tensor]) -> Result<Tensor> {
        let (router, choice) = (self.router(t), self.choice());
        if self.kronecker {
            return self.layer_of(t, &router.route(&t[0], &choice)?);
        }
        let weight = tensor(&self.weight(), &[OUT, WIDTH], t[0].dtype());
        let rest = &t[self.router_args()..];
        let pair = |p: &[Tensor]| lora::Expert { down: p[0].clone(), up: p[1].clone() };
        let experts: Vec<_> = rest[..6].chunks(2).map(pair).collect();
        let (bias, x) = (rest.last(), &t[0]);
        Ok(lora_by_router(x, &weight, None, &router, &choice, &experts, bias, 1.5)?.0)
    }

    fn router_args(&self) -> usize {
        if self.cosine { 5 } else { 2 }
    }

    fn layer(&self, t: &[Tensor]) -> Result<Tensor> {
        self.layer_of(t, &self.routing(t)?)
    }

    fn layer_of(&self, t: &[Tensor], routing: &Routing) -> Result<Tensor> {
        let weight = tensor(&self.weight(), &[OUT, WIDTH], t[0].dtype());
        let rest = &t[self.router_args()..];
        let bias = rest.last();
        if self.kronecker {
            let shared = Shared { left: rest[0].clone(), right: rest[1].clone() };
            let pair = |p: &[Tensor]| kronecker::Expert { left: p[0].clone(), right: p[1].clone() };
            let experts: Vec<_> = rest[2..8].chunks(2).map(pair).collect();
            let drop = match self.dropped {
                true => DropConnect::Given { keep: Arc::new(self.keep()), p: 0.5 },
                false => DropConnect::Off,
            };
            routed_kronecker(&t[0], &weight, None, routing, &shared, &experts, bias, 1.5, drop)
        } else {
            let pair = |p: &[Tensor]| lora::Expert { down: p[0].clone(), up: p[1].clone() };
            let experts: Vec<_> = rest[..6].chunks(2).map(pair).collect();
            routed_lora(&t[0], &weight, None, routing, &experts, bias, 1.5)
        }
    }

    fn reference(&self, v: &[Vec<f64>]) -> reference::Output {
        let rest = &v[self.router_args()..];
        let router = if self.cosine {
            let temperature = v[4][0];
            Router::Cosine {
                weight: v[1].clone(),
                bias: v[2].clone(),
                sim: v[3].clone(),
                temperature,
            }
        } else {
            Router::Linear { weight: v[1].clone() }
        };
        let experts = (0..RANKS.len()).map(|e| {
            if self.kronecker {
                let size = WIDTH * OUT;
                Adapter::Kronecker {
                    s: rest[0].clone(),
                    v: rest[1].clone(),
                    left: rest[2 + 2 * e].clone(),
                    right: rest[3 + 2 * e].clone(),
                    keep: match self.dropped {
                        true => self.keep()[e * size..(e + 1) * size].to_vec(),
                        false => Vec::new(),
                    },
                    factor: 2.0,
                }
            } else {
                Adapter::Lora { down: rest[2 * e].clone(), up: rest[2 * e + 1].clone() }
            }
        });
        let layer = reference::Layer {
            weight: self.weight(),
            bias: rest[rest.len() - 1].clone(),
            router,
            experts: experts.collect(),
            top_k: self.top_k,
            renormalise: self.renormalise,
            scale: 1.5,
            noise_std: STD,
            aux_weight: 0.1,
            max_threshold: self.max_threshold,
        };
        layer.forward(&v[0], WIDTH, &self.noise())
    }
}

#[test]
fn outputs_and_all_gradients() {
    for case in CASES {
        let name = format!("routed: {}", case.name);
        check(&name, &case.args(), |t| case.layer(t), |v| case.reference(v).y);
    }
}

#[test]
fn router_and_layer_at_once() {
    for case in CASES {
        let name = format!("routed: {} at once", case.name);
        check(&name, &case.args(), |t| case.at_once(t), |v| case.reference(v).y);
    }
}

#[test]
fn balance_loss_and_its_gradients() {
    for case in CASES {
        let mut args = case.args();
        args.truncate(case.router_args());
        let balance = Balance {
            weight: 0.1,
            noise_std: STD,
            threshold: if case.max_threshold { Threshold::Max } else { Threshold::Kth },
        };
        let all = case.args();
        check(
            case.name,
            &args,
            |t| {
                let apart = balance_loss(&case.routing(t)?, balance)?;
                let routing = case.router(t).route(&t[0], &case.choice())?;
                let whole = balance_loss(&routing, balance)?;
                (apart.to_dtype(whole.dtype())? + whole)? * 0.5
            },
            |v| {
                let rest = all[case.router_args()..].iter().map(|a| a.0.clone());
                vec![case.reference(&v.iter().cloned().chain(rest).collect::<Vec<_>>()).aux]
            },
        );
    }
}

#[test]
fn choices_and_gates() {
    for case in CASES {
        let args = case.args();
        let t: Vec<Tensor> = args.iter().map(|a| tensor(&a.0, &a.1, DType::F64)).collect();
        let routing = case.routing(&t).unwrap();
        let wanted = case.reference(&args.iter().map(|a| a.0.clone()).collect::<Vec<_>>());
        let indices: Vec<usize> = values(&routing.indices).iter().map(|&i| i as usize).collect();
        assert_eq!(indices, wanted.indices, "{}", case.name);
        assert!(reference::worst(&values(&routing.gates), &wanted.gates) < 1e-12);
        let counts = routing.tokens_per_expert().unwrap();
        assert_eq!(counts.iter().sum::<u32>() as usize, TOKENS * case.top_k);
    }
}

#[test]
fn ties_go_to_the_first_and_nan_stays_in_range() {
    let scores = tensor(&[1.0, 1.0, 1.0, f64::NAN, f64::NAN, f64::NAN], &[2, 3], DType::F32);
    let gating = Gating { top_k: 2, renormalise: false };
    let routing = Routing::new(&scores, None, gating).unwrap();
    assert_eq!(values(&routing.indices), [0.0, 1.0, 0.0, 1.0]);
    assert!(Routing::new(&scores, None, Gating { top_k: 4, ..gating }).is_err());
    assert!(Routing::new(&scores, None, Gating { top_k: 0, ..gating }).is_err());
}

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
