//! A frozen linear layer plus routed low-rank experts.

mod cpu;
mod thin;

use crate::device::routed::{self as joint, Layer};
use crate::graph::{self, Reads};
use crate::panels;
use crate::routed::{Routed, check};
use crate::router::{Choice, Router};
use crate::routing::Routing;
use candle_core::{Result, Tensor};

/// The trainable tensors of one LoRA expert.
#[derive(Clone, Debug)]
pub struct Expert {
    /// `[r, in]`
    pub down: Tensor,
    /// `[out, r]`
    pub up: Tensor,
}

/// `y = x W^T + b + scale * sum_k gate_k * up_k (down_k x) [+ bias]`: the layer of
/// the paper with LoRA experts, each token weighted by the gates of `routing`.
///
/// `weight` and `base_bias` are constants here: no gradient is computed for them
/// even if they are tracked. Gradients flow to `x`, to the router's scores, to
/// the experts and to `bias`.
///
/// # Shapes
/// `x` `[..., in]`, `weight` `[out, in]`, `base_bias` and `bias` `[out]`; the
/// result is `[..., out]`.
///
/// # Errors
/// If the shapes do not fit each other or `routing`.
pub fn routed_lora(
    x: &Tensor,
    weight: &Tensor,
    base_bias: Option<&Tensor>,
    routing: &Routing,
    experts: &[Expert],
    bias: Option<&Tensor>,
    scale: f64,
) -> Result<Tensor> {
    let (out, width) = panels::sizes(weight)?;
    let ranks = ranks(weight, experts)?;
    check("routed_lora", x, weight, [base_bias, bias], routing, experts.len())?;
    let layer = Layer { weight, base_bias, experts, bias, scale };
    if routing.single && joint::takes(x, None, Some(&layer)) {
        return joint::lora(x, &layer);
    }
    if crate::by_tensors(x) {
        let base = crate::device::lora::Base { weight, bias: base_bias };
        return crate::device::lora::routed_lora(x, base, routing, experts, bias, scale);
    }
    // candle's operations take three tensors: the trainable ones travel as one.
    let mut flat = Vec::with_capacity(2 * experts.len() + 1);
    for expert in experts {
        flat.push(expert.down.flatten_all()?);
        flat.push(expert.up.flatten_all()?);
    }
    flat.extend(bias.cloned());
    let op = Routed {
        weight: weight.detach().contiguous()?,
        base_bias: base_bias.map(Tensor::detach),
        routing: routing.clone(),
        shared: routing.shared.of(x),
        settings: cpu::Sizes { width, out, ranks, bias: bias.is_some(), scale },
    };
    graph::apply3(&x.contiguous()?, &routing.scores, &Tensor::cat(&flat, 0)?, op, Reads::Arguments)
}

/// The same with a router of the same tokens, which says where they go: what [`Router::route`]
/// and [`routed_lora`] do one after the other, faster.
///
/// # Errors
/// If the shapes do not fit each other.
#[allow(clippy::too_many_arguments)]
pub fn lora_by_router(
    x: &Tensor,
    weight: &Tensor,
    base_bias: Option<&Tensor>,
    router: &Router,
    choice: &Choice,
    experts: &[Expert],
    bias: Option<&Tensor>,
    scale: f64,
) -> Result<(Tensor, Routing)> {
    let layer = Layer { weight, base_bias, experts, bias, scale };
    ranks(weight, experts)?;
    if joint::takes(x, Some(router), Some(&layer)) {
        return joint::lora_by_router(x, &layer, router, choice);
    }
    let downs: Vec<_> = experts.iter().map(|expert| expert.down.detach()).collect();
    let routing = router.step_by_step(x, Some(&Tensor::cat(&downs, 0)?), choice)?;
    let y = routed_lora(x, weight, base_bias, &routing, experts, bias, scale)?;
    Ok((y, routing))
}

/// Of all experts, whose shapes must fit the weight.
fn ranks(weight: &Tensor, experts: &[Expert]) -> Result<Vec<usize>> {
    let (out, width) = panels::sizes(weight)?;
    let mut ranks = Vec::with_capacity(experts.len());
    for (e, expert) in experts.iter().enumerate() {
        let rank = expert.down.dim(0)?;
        if expert.down.dims() != [rank, width] || expert.up.dims() != [out, rank] {
            candle_core::bail!(
                "routed_lora: expert {e} has down {:?} and up {:?}, not [r, {width}] and [{out}, r]",
                expert.down.shape(),
                expert.up.shape()
            );
        }
        ranks.push(rank);
    }
    Ok(ranks)
}
