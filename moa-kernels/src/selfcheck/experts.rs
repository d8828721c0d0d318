//! Routed layers whose tokens go where given scores send them, and the router's scores.

use super::case::{Arg, Case, normal, tensor, tokens, trained};
use crate::kronecker::{self, DropConnect, Shared, routed_kronecker};
use crate::lora::{self, lora_by_router, routed_lora};
use crate::reference::{self, Adapter, Router};
use crate::router::{self, Choice, Noise, cosine_scores};
use crate::routing::{Balance, Gating, Routing, Threshold, balance_loss};
use candle_core::{DType, Result, Tensor};
use std::sync::Arc;

/// Inputs and outputs: not what is moved 16 bytes at a time, and what is.
const ODD: (usize, usize) = (12, 18);
const EVEN: (usize, usize) = (24, 48);
/// `t` of Kronecker experts.
const T: usize = 3;

/// One layer.
#[derive(Clone)]
struct Layer {
    name: &'static str,
    sides: (usize, usize),
    tokens: usize,
    ranks: &'static [usize],
    kronecker: bool,
    dropped: bool,
    top_k: usize,
    renormalise: bool,
}

const PLAIN: Layer = Layer {
    name: "LoRA, ranks 1, 2, 4, 8, one expert empty",
    sides: ODD,
    tokens: 33,
    ranks: &[1, 2, 4, 8],
    kronecker: false,
    dropped: false,
    top_k: 1,
    renormalise: false,
};

const LAYERS: &[Layer] = &[
    PLAIN,
    Layer { name: "LoRA, two of four", top_k: 2, ..PLAIN },
    Layer { name: "LoRA, three of four, renormalised", top_k: 3, renormalise: true, ..PLAIN },
    Layer { name: "LoRA, one expert, one token", tokens: 1, ranks: &[17], ..PLAIN },
    Layer { name: "Kronecker, one expert empty", kronecker: true, ranks: &[1, 4, 2], ..PLAIN },
    Layer {
        name: "Kronecker, two of three, DropConnect",
        kronecker: true,
        dropped: true,
        ranks: &[1, 4, 2],
        top_k: 2,
        renormalise: true,
        ..PLAIN
    },
    Layer {
        name: "Kronecker, all experts at once, one empty",
        sides: EVEN,
        kronecker: true,
        dropped: true,
        ranks: &[1, 4, 2],
        ..PLAIN
    },
];

/// Scores that lie far apart and give the last of several experts nothing.
pub fn forced(count: usize, experts: usize) -> Arg {
    let mut arg = trained(20, &[count, experts], 0.1);
    for (t, row) in arg.values.chunks_mut(experts).enumerate() {
        let used = (experts - 1).max(1);
        for (e, score) in row.iter_mut().enumerate() {
            *score -= if e < used { 0.7 * ((e + used - t % used) % used) as f64 } else { 3.5 };
        }
    }
    arg
}

impl Layer {
    fn gating(&self) -> Gating {
        Gating { top_k: self.top_k, renormalise: self.renormalise }
    }

    /// Entries of the weight.
    fn size(&self) -> usize {
        self.sides.0 * self.sides.1
    }

    fn args(&self) -> Vec<Arg> {
        let (width, out) = self.sides;
        let mut args = vec![tokens(21, &[self.tokens, width], 1.0)];
        args.push(forced(self.tokens, self.ranks.len()));
        if self.kronecker {
            args.push(trained(22, &[T, T, 1], 0.7));
            args.push(trained(23, &[T, 1, T], 0.7));
        }
        for (e, &r) in self.ranks.iter().enumerate() {
            let seed = 30 + 2 * e as u64;
            if self.kronecker {
                args.push(trained(seed, &[T, width / T, r], 0.6));
                args.push(trained(seed + 1, &[T, r, out / T], 0.6));
            } else {
                args.push(trained(seed, &[r, width], 0.4));
                args.push(trained(seed + 1, &[out, r], 0.6));
            }
        }
        args.push(trained(24, &[out], 0.3));
        args
    }

    fn weight(&self) -> Vec<f64> {
        // Numbers that every type has.
        normal(25, self.size(), 0.3).iter().map(|v| (v * 64.0).round() / 64.0).collect()
    }

    fn keep(&self) -> Vec<u8> {
        let coins = normal(26, self.ranks.len() * self.size(), 1.0);
        coins.iter().map(|&z| u8::from(z > 0.0)).collect()
    }

    fn run(&self, t: &[Tensor]) -> Result<Tensor> {
        let routing = Routing::new(&t[1], None, self.gating())?;
        let (width, out) = self.sides;
        let weight = tensor(&self.weight(), &[out, width], t[0].dtype(), t[0].device())?;
        let (rest, bias) = (&t[2..t.len() - 1], t.last());
        if !self.kronecker {
            let pair = |p: &[Tensor]| lora::Expert { down: p[0].clone(), up: p[1].clone() };
            let experts: Vec<_> = rest.chunks(2).map(pair).collect();
            return routed_lora(&t[0], &weight, None, &routing, &experts, bias, 1.5);
        }
        let shared = Shared { left: rest[0].clone(), right: rest[1].clone() };
        let pair = |p: &[Tensor]| kronecker::Expert { left: p[0].clone(), right: p[1].clone() };
        let experts: Vec<_> = rest[2..].chunks(2).map(pair).collect();
        let drop = match self.dropped {
            true => DropConnect::Given { keep: Arc::new(self.keep()), p: 0.5 },
            false => DropConnect::Off,
        };
        routed_kronecker(&t[0], &weight, None, &routing, &shared, &experts, bias, 1.5, drop)
    }

    fn plain(&self, v: &[Vec<f64>]) -> Vec<f64> {
        let (rest, size) = (&v[2..v.len() - 1], self.size());
        let lora = |p: &[Vec<f64>]| Adapter::Lora { down: p[0].clone(), up: p[1].clone() };
        let experts = if self.kronecker {
            let factors = rest[2..].chunks(2).enumerate();
            let one = |(e, p): (usize, &[Vec<f64>])| Adapter::Kronecker {
                s: rest[0].clone(),
                v: rest[1].clone(),
                left: p[0].clone(),
                right: p[1].clone(),
                keep: match self.dropped {
                    true => self.keep()[e * size..][..size].to_vec(),
                    false => Vec::new(),
                },
                factor: 2.0,
            };
            factors.map(one).collect()
        } else {
            rest.chunks(2).map(lora).collect()
        };
        let layer = reference::Layer {
            weight: self.weight(),
            bias: v[v.len() - 1].clone(),
            router: Router::Given { scores: v[1].clone() },
            experts,
            top_k: self.top_k,
            renormalise: self.renormalise,
            scale: 1.5,
            noise_std: 1.0,
            aux_weight: 0.0,
            max_threshold: false,
        };
        layer.forward(&v[0], self.sides.0, &[]).y
    }
}

pub fn cases() -> Vec<Case> {
    let layer = |layer: &Layer| {
        let (a, b) = (layer.clone(), layer.clone());
        Case {
            name: layer.name.into(),
            args: layer.args(),
            op: Box::new(move |t| a.run(t)),
            reference: Box::new(move |v| b.plain(v)),
        }
    };
    LAYERS.iter().map(layer).chain([at_once(), scores(), balance()]).collect()
}

/// A layer and its router at once; noise far larger than the cosines says where tokens go.
fn at_once() -> Case {
    let layer = Layer { name: "LoRA and cosine router at once", top_k: 2, ..PLAIN };
    let (p, experts, first) = (10, layer.ranks.len(), 6);
    let mut args = layer.args();
    let last = args.pop();
    let noise = args.remove(1).values;
    let router = [
        trained(43, &[p, ODD.0], 0.4),
        trained(44, &[p], 0.2),
        trained(45, &[p, experts], 0.5),
        Arg { values: vec![-2.0], ..trained(46, &[1], 1.0) },
    ];
    args.splice(1..1, router.into_iter().chain(last));
    let (given, own) = (noise.clone(), layer.clone());
    let pairs = move |t: &[Tensor]| -> Vec<lora::Expert> {
        let pair = |p: &[Tensor]| lora::Expert { down: p[0].clone(), up: p[1].clone() };
        t[first..].chunks(2).map(pair).collect()
    };
    Case {
        name: own.name.into(),
        args,
        op: Box::new(move |t| {
            let router = router::Router::Cosine {
                weight: t[1].clone(),
                bias: Some(t[2].clone()),
                sim: t[3].clone(),
                temperature: t[4].clone(),
            };
            let (x, device) = (&t[0], t[0].device());
            let weight = tensor(&own.weight(), &[ODD.1, ODD.0], x.dtype(), device)?;
            let precise = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
            let noise = tensor(&given, &[own.tokens, experts], precise, device)?;
            let choice = Choice { gating: own.gating(), noise: Noise::Given(noise), indices: None };
            let (experts, bias) = (pairs(t), Some(&t[5]));
            Ok(lora_by_router(x, &weight, None, &router, &choice, &experts, bias, 1.5)?.0)
        }),
        reference: Box::new(move |v| {
            let router = Router::Cosine {
                weight: v[1].clone(),
                bias: v[2].clone(),
                sim: v[3].clone(),
                temperature: v[4][0],
            };
            let lora = |p: &[Vec<f64>]| Adapter::Lora { down: p[0].clone(), up: p[1].clone() };
            let plain = reference::Layer {
                weight: layer.weight(),
                bias: v[5].clone(),
                experts: v[first..].chunks(2).map(lora).collect(),
                scale: 1.5,
                ..choosing(router, experts, layer.top_k)
            };
            plain.forward(&v[0], ODD.0, &noise).y
        }),
    }
}

/// Cosine scores.
fn scores() -> Case {
    let (p, experts) = (20, 5);
    Case {
        name: "cosine scores".into(),
        args: vec![
            tokens(40, &[37, p], 1.0),
            trained(41, &[p, experts], 0.5),
            Arg { values: vec![0.7], ..trained(42, &[1], 1.0) },
        ],
        op: Box::new(|t| cosine_scores(&t[0], &t[1], &t[2])),
        reference: Box::new(move |v| {
            let router = Router::Cosine {
                weight: (0..p * p).map(|i| f64::from(u8::from(i / p == i % p))).collect(),
                bias: Vec::new(),
                sim: v[1].clone(),
                temperature: v[2][0],
            };
            choosing(router, experts, 1).forward(&v[0], p, &[]).scores
        }),
    }
}

/// The balance loss.
fn balance() -> Case {
    let (count, experts) = (33, 4);
    Case {
        name: "balance loss".into(),
        args: vec![forced(count, experts)],
        op: Box::new(|t| {
            let routing = Routing::new(&t[0], None, Gating { top_k: 2, renormalise: false })?;
            let threshold = Threshold::Kth;
            balance_loss(&routing, Balance { weight: 0.1, noise_std: 0.25, threshold })
        }),
        reference: Box::new(move |v| {
            let layer = choosing(Router::Given { scores: v[0].clone() }, experts, 2);
            vec![layer.forward(&vec![0.0; count], 1, &[]).aux]
        }),
    }
}

/// A layer of which only the routing matters.
pub fn choosing(router: Router, experts: usize, top_k: usize) -> reference::Layer {
    let nothing = Adapter::Lora { down: Vec::new(), up: Vec::new() };
    reference::Layer {
        weight: Vec::new(),
        bias: Vec::new(),
        router,
        experts: vec![nothing; experts],
        top_k,
        renormalise: false,
        scale: 1.0,
        noise_std: 0.25,
        aux_weight: 0.1,
        max_threshold: false,
    }
}
