//! The balance loss.

use super::routing::{softmax, softmax_grad};
use super::{node, one_hot};
use crate::routing::{Balance, Routing, Threshold};
use candle_core::{DType, Result, Tensor};

/// See [`crate::routing::balance_loss`].
pub fn balance_loss(routing: &Routing, balance: Balance) -> Result<Tensor> {
    if crate::kernels::runs(&routing.probs) {
        return on_cuda(routing, balance);
    }
    let parts = Parts::new(routing, balance)?;
    let loss = (cv_squared(&parts.importance)?.0 + cv_squared(&parts.load)?.0)?;
    let dtype = routing.scores.dtype();
    let loss = (loss * (0.5 * balance.weight))?.to_dtype(dtype)?;
    node("moa-balance-loss", loss, &[&routing.scores], move |grad| {
        let scores = (parts.score_grad()? * (0.5 * parts.balance.weight))?;
        let grad = scores.broadcast_mul(&grad.to_dtype(scores.dtype())?)?;
        Ok(vec![Some(grad.to_dtype(dtype)?)])
    })
}

fn on_cuda(routing: &Routing, balance: Balance) -> Result<Tensor> {
    let (scores, dtype) = (super::wide(&routing.scores.detach())?, routing.scores.dtype());
    let (loss, slopes) = crate::kernels::balance::loss(&scores, routing, balance)?;
    let chosen = routing.detached();
    node("moa-balance-loss", loss.to_dtype(dtype)?, &[&routing.scores], move |grad| {
        let upstream = super::wide(grad)?;
        let grad = crate::kernels::balance::grad(&scores, &chosen, balance, &slopes, &upstream)?;
        Ok(vec![Some(grad.to_dtype(dtype)?)])
    })
}

struct Parts {
    /// Softmax of the scores, `[tokens, experts]`.
    clean: Tensor,
    /// The same of the noisy ones.
    noisy: Tensor,
    /// 1 at each token's threshold.
    place: Tensor,
    /// Distance of `clean` from the threshold, in standard deviations.
    distance: Tensor,
    /// Sums over tokens, `[1, experts]`.
    importance: Tensor,
    load: Tensor,
    balance: Balance,
}

impl Parts {
    fn new(routing: &Routing, balance: Balance) -> Result<Self> {
        // The sums cancel: as precise as the device can.
        let precise = if routing.scores.device().is_metal() { DType::F32 } else { DType::F64 };
        let clean = softmax(&routing.scores.detach().to_dtype(precise)?)?;
        let noisy = routing.probs.to_dtype(precise)?;
        let choice = match balance.threshold {
            Threshold::Kth => routing.gating.top_k - 1,
            Threshold::Max => 0,
        };
        let chosen = routing.indices.narrow(1, choice, 1)?.contiguous()?;
        let place = one_hot(&chosen, routing.experts(), precise)?;
        let threshold = (&noisy * &place)?.sum_keepdim(1)?;
        let distance = (clean.broadcast_sub(&threshold)? / balance.noise_std)?;
        let above = (((&distance * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5)?;
        let (importance, load) = (clean.sum_keepdim(0)?, above.sum_keepdim(0)?);
        Ok(Self { clean, noisy, place, distance, importance, load, balance })
    }

    /// Of the sum of both squared coefficients: through the clean probabilities, then
    /// through the threshold.
    fn score_grad(&self) -> Result<Tensor> {
        let density = ((self.distance.sqr()? * -0.5)?.exp()? * 0.398_942_280_401_432_7)?;
        let slope = (density / self.balance.noise_std)?;
        let slope = slope.broadcast_mul(&cv_squared(&self.load)?.1)?;
        let dclean = slope.broadcast_add(&cv_squared(&self.importance)?.1)?;
        let dthreshold = slope.sum_keepdim(1)?.neg()?;
        let dnoisy = self.place.broadcast_mul(&dthreshold)?;
        softmax_grad(&dclean, &self.clean)? + softmax_grad(&dnoisy, &self.noisy)?
    }
}

/// Squared coefficient of variation of `[1, n]` numbers, a scalar, and its gradient.
fn cv_squared(v: &Tensor) -> Result<(Tensor, Tensor)> {
    let n = v.dim(1)? as f64;
    if n < 2.0 {
        return Ok((v.sum_all()?.zeros_like()?, v.zeros_like()?));
    }
    let mean = (v.sum_all()? / n)?;
    let apart = v.broadcast_sub(&mean)?;
    let var = (apart.sqr()?.sum_all()? / (n - 1.0))?;
    let below = (mean.sqr()? + 1e-10)?;
    let cv = (&var / &below)?;
    let through_mean = ((&cv * &mean)? / &below)?;
    let grad = (apart * (2.0 / (n - 1.0)))?.broadcast_div(&below)?;
    Ok((cv, grad.broadcast_sub(&(through_mean * (2.0 / n))?)?))
}
