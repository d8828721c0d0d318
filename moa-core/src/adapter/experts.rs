//! The experts of one layer: all LoRA or all Kronecker, of different capacity.

use super::{AdapterConfig, AdapterKind, Router};
use crate::error::Result;
use crate::param::{Param, Store};
use crate::pass::{LayerId, Pass};
use candle_core::Tensor;
use moa_kernels::kronecker::{self, DropConnect};
use moa_kernels::lora::{self, lora_by_router, routed_lora};
use moa_kernels::routing::Routing;

/// Experts of one kind.
#[derive(Clone, Debug)]
pub enum Experts {
    /// `down` `[r, in]` and `up` `[out, r]` of each.
    Lora(Vec<(Param, Param)>),
    /// The shared outer factors, and `left` `[t, in/t, r]`, `right` `[t, r, out/t]` of each.
    Kronecker {
        /// `shared.left` and `shared.right`.
        shared: (Param, Param),
        /// One pair per expert.
        experts: Vec<(Param, Param)>,
        /// Probability of DropConnect.
        dropout: f64,
        /// Probability that an inner rank is dropped.
        rank_dropout: f64,
    },
}

/// The frozen layer that experts add to.
pub(super) struct Base<'a> {
    pub x: &'a Tensor,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    /// The adapter's own bias.
    pub extra: Option<Tensor>,
    pub scale: f64,
}

impl Experts {
    /// Takes `{prefix}.experts.*` (and `shared.*`) from `store`.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn new(
        store: &mut Store,
        prefix: &str,
        (width, out): (usize, usize),
        config: &AdapterConfig,
    ) -> Result<Self> {
        let mut pairs = Vec::with_capacity(config.ranks.len());
        for (e, &r) in config.ranks.iter().enumerate() {
            let mut take = |name: &str, shape: &[usize]| {
                store.take(&format!("{prefix}.experts.{e}.{name}"), shape)
            };
            pairs.push(match config.kind {
                AdapterKind::Lora => (take("down", &[r, width])?, take("up", &[out, r])?),
                AdapterKind::Kronecker | AdapterKind::Compacter => {
                    let (t, a, b) = (config.t, width / config.t, out / config.t);
                    (take("left", &[t, a, r])?, take("right", &[t, r, b])?)
                }
            });
        }
        Ok(match config.kind {
            AdapterKind::Lora => Experts::Lora(pairs),
            AdapterKind::Kronecker | AdapterKind::Compacter => {
                let t = config.t;
                let left = store.take("shared.left", &[t, t, 1])?;
                let right = store.take("shared.right", &[t, 1, t])?;
                Experts::Kronecker {
                    shared: (left, right),
                    experts: pairs,
                    dropout: config.dropout,
                    rank_dropout: config.rank_dropout,
                }
            }
        })
    }

    /// The base layer plus the experts that the router sends tokens to, or the only one,
    /// `[n, out]`.
    pub(super) fn forward(
        &self,
        base: Base<'_>,
        router: Option<&Router>,
        layer: &LayerId,
        pass: &Pass<'_>,
    ) -> Result<Tensor> {
        let Base { x, weight, bias, extra, scale } = &base;
        let (bias, extra, scale) = (bias.as_ref(), extra.as_ref(), *scale);
        let single = || Routing::single(x, x.elem_count() / weight.dim(1)?.max(1));
        match self {
            Experts::Lora(pairs) => {
                let pair = |(d, u): &(Param, Param)| (d.get(pass), u.get(pass));
                let expert = |(down, up)| lora::Expert { down, up };
                let experts: Vec<_> = pairs.iter().map(pair).map(expert).collect();
                match router {
                    Some(router) => router.forward(layer, pass, |r, c| {
                        Ok(lora_by_router(x, weight, bias, r, c, &experts, extra, scale)?)
                    }),
                    None => Ok(routed_lora(x, weight, bias, &single()?, &experts, extra, scale)?),
                }
            }
            Experts::Kronecker { shared: (left, right), experts, dropout, rank_dropout } => {
                let shared = kronecker::Shared { left: left.get(pass), right: right.get(pass) };
                let own = factors(experts, *rank_dropout, layer, pass)?;
                let drop = match pass.random {
                    Some(random) if *dropout > 0.0 => random.drop_connect(layer, *dropout),
                    _ => DropConnect::Off,
                };
                let layer_of = |routing: &Routing| {
                    kronecker::routed_kronecker(
                        x, weight, bias, routing, &shared, &own, extra, scale, drop,
                    )
                };
                match router {
                    Some(router) => router.forward(layer, pass, |r, choice| {
                        let routing = r.route(x, choice)?;
                        Ok((layer_of(&routing)?, routing))
                    }),
                    None => Ok(layer_of(&single()?)?),
                }
            }
        }
    }

    /// The delta `[out, in]` of the only expert, for merging.
    pub(super) fn delta(&self, scale: f64) -> Result<Tensor> {
        let delta = match self {
            Experts::Lora(pairs) => {
                let (down, up) = (pairs[0].0.value(), pairs[0].1.value());
                up.matmul(&down)?
            }
            Experts::Kronecker { shared: (left, right), experts, .. } => {
                let shared = kronecker::Shared { left: left.value(), right: right.value() };
                let (l, r) = (experts[0].0.value(), experts[0].1.value());
                kronecker::materialise(&shared, &kronecker::Expert { left: l, right: r })?.t()?
            }
        };
        Ok((delta * scale)?)
    }
}

/// Of all Kronecker experts, some inner ranks dropped in training.
fn factors(
    experts: &[(Param, Param)],
    rank_dropout: f64,
    layer: &LayerId,
    pass: &Pass<'_>,
) -> Result<Vec<kronecker::Expert>> {
    let mut own = Vec::with_capacity(experts.len());
    for (e, (l, r)) in experts.iter().enumerate() {
        let (mut left, right) = (l.get(pass), r.get(pass));
        if let Some(random) = pass.random.filter(|_| rank_dropout > 0.0) {
            let (t, _, rank) = left.dims3()?;
            let keep = random.rank_dropout(layer, e as u8, t * rank, rank_dropout);
            let keep = Tensor::from_vec(keep, (t, 1, rank), left.device())?;
            left = left.broadcast_mul(&keep.to_dtype(left.dtype())?)?;
        }
        own.push(kronecker::Expert { left, right });
    }
    Ok(own)
}
