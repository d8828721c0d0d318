//! The experts of one layer: all LoRA or all Kronecker, of different capacity.

use super::{AdapterConfig, AdapterKind};
use crate::error::Result;
use crate::param::{Param, Store};
use crate::pass::{LayerId, Pass};
use candle_core::Tensor;
use moa_kernels::kronecker::{self, DropConnect};
use moa_kernels::lora;
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

    /// The `down` of all LoRA experts side by side, `[R, in]`, without gradients.
    pub(super) fn downs(&self, pass: &Pass<'_>) -> Result<Option<Tensor>> {
        let Experts::Lora(pairs) = self else { return Ok(None) };
        let downs: Vec<_> = pairs.iter().map(|(down, _)| down.get(pass).detach()).collect();
        Ok(Some(Tensor::cat(&downs, 0)?))
    }

    /// The base layer plus the routed experts, `[n, out]`.
    pub(super) fn forward(
        &self,
        base: Base<'_>,
        routing: &Routing,
        layer: &LayerId,
        pass: &Pass<'_>,
    ) -> Result<Tensor> {
        let Base { x, weight, bias, extra, scale } = base;
        let (bias, extra) = (bias.as_ref(), extra.as_ref());
        Ok(match self {
            Experts::Lora(pairs) => {
                let experts: Vec<_> = pairs
                    .iter()
                    .map(|(d, u)| lora::Expert { down: d.get(pass), up: u.get(pass) })
                    .collect();
                lora::routed_lora(x, &weight, bias, routing, &experts, extra, scale)?
            }
            Experts::Kronecker { shared: (left, right), experts, dropout, rank_dropout } => {
                let shared = kronecker::Shared { left: left.get(pass), right: right.get(pass) };
                let mut own = Vec::with_capacity(experts.len());
                for (e, (l, r)) in experts.iter().enumerate() {
                    let (mut left, right) = (l.get(pass), r.get(pass));
                    if let Some(random) = pass.random.filter(|_| *rank_dropout > 0.0) {
                        let (t, _, rank) = left.dims3()?;
                        let keep = random.rank_dropout(layer, e as u8, t * rank, *rank_dropout);
                        let keep = Tensor::from_vec(keep, (t, 1, rank), left.device())?;
                        left = left.broadcast_mul(&keep.to_dtype(left.dtype())?)?;
                    }
                    own.push(kronecker::Expert { left, right });
                }
                let drop = match pass.random {
                    Some(random) if *dropout > 0.0 => random.drop_connect(layer, *dropout),
                    _ => DropConnect::Off,
                };
                kronecker::routed_kronecker(
                    x, &weight, bias, routing, &shared, &own, extra, scale, drop,
                )?
            }
        })
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
