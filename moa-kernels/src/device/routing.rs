//! Softmax, top-k and gates.

use super::{one_hot, wide};
use crate::routing::{Gating, Routing};
use candle_core::{D, DType, Result, Tensor};

/// `(probs, indices, gates)` of noisy scores: see [`Routing`].
pub fn choose(noisy: &Tensor, gating: Gating) -> Result<(Tensor, Tensor, Tensor)> {
    let noisy = wide(noisy)?.contiguous()?;
    if crate::kernels::runs(&noisy) && noisy.dtype() == DType::F32 {
        return crate::kernels::routing::choose(&noisy, gating);
    }
    let probs = softmax(&noisy)?;
    let experts = probs.dim(1)?;
    let (mut indices, mut gates, mut left) = (Vec::new(), Vec::new(), probs.clone());
    for _ in 0..gating.top_k {
        let best = left.argmax_keepdim(D::Minus1)?.contiguous()?;
        gates.push(probs.gather(&best, 1)?);
        left = (left - (one_hot(&best, experts, probs.dtype())? * 2.0)?)?; // below any other
        indices.push(best);
    }
    let (indices, gates) = (Tensor::cat(&indices, 1)?, Tensor::cat(&gates, 1)?);
    let gates = match gating.renormalise {
        true => gates.broadcast_div(&gates.sum_keepdim(1)?)?,
        false => gates,
    };
    Ok((probs, indices.to_dtype(DType::U32)?, gates))
}

/// Of rows.
pub(super) fn softmax(scores: &Tensor) -> Result<Tensor> {
    let e = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
}

/// The gradient of the inputs of a softmax from that of its results `p`.
pub(super) fn softmax_grad(dp: &Tensor, p: &Tensor) -> Result<Tensor> {
    let dot = (dp * p)?.sum_keepdim(D::Minus1)?;
    p * dp.broadcast_sub(&dot)?
}

/// The gradient of the scores from that of the gates, `[tokens, top_k]`.
pub(super) fn score_grad(routing: &Routing, dgates: &Tensor) -> Result<Tensor> {
    if crate::kernels::runs(dgates) && dgates.dtype() == DType::F32 {
        return crate::kernels::routing::score_grad(routing, dgates);
    }
    let (probs, experts) = (&routing.probs, routing.experts());
    let mut dgates = dgates.clone();
    if routing.gating.renormalise {
        let dot = (&dgates * &routing.gates)?.sum_keepdim(1)?;
        let sum = probs.gather(&routing.indices, 1)?.sum_keepdim(1)?;
        dgates = dgates.broadcast_sub(&dot)?.broadcast_div(&sum)?;
    }
    softmax_grad(&spread(&routing.indices, &dgates, experts)?, probs)
}

/// Values `[tokens, top_k]` at the places of their experts, `[tokens, experts]`.
pub(super) fn spread(indices: &Tensor, values: &Tensor, experts: usize) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for choice in 0..indices.dim(1)? {
        let places = one_hot(&indices.narrow(1, choice, 1)?, experts, values.dtype())?;
        let part = places.broadcast_mul(&values.narrow(1, choice, 1)?)?;
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    sum.ok_or_else(|| candle_core::Error::msg("routing: no choices"))
}
