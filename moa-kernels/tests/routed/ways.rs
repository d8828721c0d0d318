//! A case by the library's operations, in pieces and at once, and by the reference.

use crate::case::{Case, OUT, RANKS, STD, TOKENS, WIDTH};
use crate::common::tensor;
use candle_core::{DType, Result, Tensor};
use moa_kernels::kronecker::{self, DropConnect, Shared, routed_kronecker};
use moa_kernels::lora::{self, lora_by_router, routed_lora};
use moa_kernels::reference::{self, Adapter, Router};
use moa_kernels::router::{self, Choice, Noise, cosine_scores, project};
use moa_kernels::routing::Routing;
use std::sync::Arc;

impl Case {
    pub fn routing(&self, t: &[Tensor]) -> Result<Routing> {
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

    pub fn router(&self, t: &[Tensor]) -> router::Router {
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

    pub fn choice(&self) -> Choice {
        let noise = || tensor(&self.noise(), &[TOKENS, RANKS.len()], DType::F64);
        let noise = if self.noise { Noise::Given(noise()) } else { Noise::Off };
        Choice { gating: self.gating(), noise, indices: None }
    }

    /// The router and what it routes for at once.
    pub fn at_once(&self, t: &[Tensor]) -> Result<Tensor> {
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

    pub fn layer(&self, t: &[Tensor]) -> Result<Tensor> {
        self.layer_of(t, &self.routing(t)?)
    }

    pub fn layer_of(&self, t: &[Tensor], routing: &Routing) -> Result<Tensor> {
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

    pub fn reference(&self, v: &[Vec<f64>]) -> reference::Output {
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
