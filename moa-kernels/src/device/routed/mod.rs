//! A router and the LoRA layer that it routes for, or either alone, in a few launches.
//!
//! Forward there are three: all tensors side by side as operands, `[x W^T | x U^T]` as one
//! product, and all the rest. Backward there are six: all that is small, the two products that
//! give the gradient of `x`, two for those of the tensors, and one that hands these out.
//!
//! In candle's graph everything hangs on one tensor of one number that means nothing, the link. It
//! comes from `x` and all that trains; scores and the layer's result come from it. They leave
//! their gradients where its backward pass, which comes after theirs, finds them.

mod backward;
mod parts;

pub use parts::{Layer, takes};

use super::{node, ones, rows};
use crate::kernels::routed::{Given, Operands, Sizes, forward, pack};
use crate::router::{Choice, Noise, Router, Shared};
use crate::routing::Routing;
use backward::{Kept, Owed, Role};
use candle_core::{Result, Tensor};
use std::sync::{Arc, Mutex};

/// See [`crate::router::Router::route`].
pub fn route(x: &Tensor, router: &Router, choice: &Choice) -> Result<Routing> {
    let (_, routing) = run(x, None, Some((router, choice)))?;
    routing.ok_or_else(|| candle_core::Error::msg("routed: no routing"))
}

/// See [`crate::lora::lora_by_router`].
pub fn lora_by_router(
    x: &Tensor,
    layer: &Layer<'_>,
    router: &Router,
    choice: &Choice,
) -> Result<(Tensor, Routing)> {
    match run(x, Some(layer), Some((router, choice)))? {
        (Some(y), Some(routing)) => Ok((y, routing)),
        _ => candle_core::bail!("routed: no result"),
    }
}

/// One expert that takes every token.
pub fn lora(x: &Tensor, layer: &Layer<'_>) -> Result<Tensor> {
    let (y, _) = run(x, Some(layer), None)?;
    y.ok_or_else(|| candle_core::Error::msg("routed: no result"))
}

fn run(
    x: &Tensor,
    layer: Option<&Layer<'_>>,
    router: Option<(&Router, &Choice)>,
) -> Result<(Option<Tensor>, Option<Routing>)> {
    let flat = rows(&x.detach().contiguous()?)?;
    let sizes = parts::sizes(&flat, layer, router)?;
    let roles = parts::roles(x, layer, router.map(|(router, _)| router));
    let trains = !roles.is_empty();
    let operands = parts::with(&flat, layer, router.map(|(r, _)| r), |parts| {
        pack(&sizes, parts, &flat, trains)
    })?;
    let (noise, indices) = match router {
        Some((_, choice)) => parts::given(choice, &sizes, &flat)?,
        None => (None, None),
    };
    let given = Given { noise: noise.as_ref(), indices: indices.as_ref() };
    let found = forward(&sizes, &flat, &operands, &given, trains)?;

    let shaped = |y: Tensor| y.reshape(layer.map_or(Ok(Vec::new()), |layer| layer.shape(x))?);
    let (mut y, mut routing) = (found.y.map(shaped).transpose()?, None);
    let chosen = found.routed.as_ref().map(|[_, _, indices, _]| indices.clone());
    if let (Some([scores, probs, indices, gates]), Some((_, choice))) = (found.routed, router) {
        let (gating, shared) = (choice.gating, Shared::default());
        routing = Some(Routing { scores, probs, indices, gates, gating, single: false, shared });
    }
    if let Some(kept) = found.kept {
        let owed = Arc::new(Mutex::new(Owed::default()));
        let weight = layer.map(|l| super::like(l.weight, &flat)).transpose()?;
        let temperature = match router {
            Some((Router::Cosine { temperature, .. }, _)) => Some(temperature.detach()),
            _ => None,
        };
        let Operands { below, small, .. } = operands;
        let (args, roles): (Vec<Tensor>, Vec<Role>) = roles.into_iter().unzip();
        let kept = Kept { x: flat, weight, kept, below, small, temperature, noise, chosen, sizes };
        let link = kept.link(args, roles, owed.clone())?;
        if let Some(result) = y {
            let leave = |owed: &mut Owed, dy| owed.dy = Some(dy);
            y = Some(owing("moa-routed-lora", &link, result, owed.clone(), leave)?);
        }
        if let Some(routing) = &mut routing {
            let (scores, leave) =
                (routing.scores.clone(), |owed: &mut Owed, d| owed.dscores = Some(d));
            routing.scores = owing("moa-scores", &link, scores, owed, leave)?;
        }
    }
    Ok((y, routing))
}

/// A result whose gradient is left to the link's backward pass.
fn owing(
    name: &'static str,
    link: &Tensor,
    result: Tensor,
    owed: Arc<Mutex<Owed>>,
    leave: fn(&mut Owed, Tensor),
) -> Result<Tensor> {
    let any = ones(1, link)?.reshape(1)?;
    node(name, result, &[link], move |gradient| {
        let mut owed = owed.lock().unwrap_or_else(|e| e.into_inner());
        let first = owed.is_empty();
        leave(&mut owed, gradient.clone());
        // Once is enough for the link's backward pass to be called.
        Ok(vec![first.then(|| any.clone())])
    })
}

impl Noise {
    /// What the kernels are told of noise that they draw.
    fn drawn(&self) -> Option<([u32; 4], u16, f64)> {
        match self {
            Self::Seeded { key, layer, std } => Some((key.parts(), *layer, *std)),
            _ => None,
        }
    }
}

/// Sizes that say nothing of experts or a router.
fn nothing(x: &Tensor) -> Result<Sizes> {
    Ok(Sizes { width: x.dim(1)?, scale: 1.0, ..Sizes::default() })
}
