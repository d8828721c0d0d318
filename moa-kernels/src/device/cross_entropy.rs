//! Mean cross-entropy.

use super::{node, wide};
use candle_core::{D, Result, Tensor};

/// See [`crate::cross_entropy::cross_entropy`].
pub fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let (batch, classes) = logits.dims2()?;
    let scores = wide(&logits.detach())?;
    let hits = super::one_hot(
        &Tensor::from_slice(labels, (batch, 1), logits.device())?,
        classes,
        scores.dtype(),
    )?;
    let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?;
    let sums = shifted.exp()?.sum_keepdim(D::Minus1)?;
    let own = (&shifted * &hits)?.sum_all()?;
    let loss = ((sums.log()?.sum_all()? - own)? / batch as f64)?;
    let dtype = logits.dtype();
    let probs = shifted.exp()?.broadcast_div(&sums)?;
    node("moa-cross-entropy", loss.to_dtype(dtype)?, &[logits], move |grad| {
        let share = (wide(grad)? / batch as f64)?;
        let grad = (&probs - &hits)?.broadcast_mul(&share)?;
        Ok(vec![Some(grad.to_dtype(dtype)?)])
    })
}
