//! Frozen halves of blocks, one after the other, as one operation.

mod op;
mod passes;

use super::{Attention, Mlp};
use candle_core::{Result, Tensor};
use passes::Stretch;

/// Half of a transformer block, all of it frozen.
#[derive(Clone, Debug)]
pub enum Half {
    /// The first.
    Attention(Attention),
    /// The second.
    Mlp(Mlp),
}

/// Passes the residual stream through `halves`. The first may be an attention whose qkv
/// is given.
///
/// # Shapes
/// `x` `[b, n, d]`, `qkv` `[b, n, 3 d]` as in [`crate::attention::attention`]; the
/// result is `[b, n, d]`, or of fewer tokens if a half wants only those.
///
/// # Errors
/// If the shapes do not fit, qkv is given and not used or the other way round, or the
/// type is neither `f32` nor `f64`.
pub fn stretch(x: &Tensor, qkv: Option<&Tensor>, halves: Vec<Half>) -> Result<Tensor> {
    let (b, n, d) = x.dims3()?;
    for (i, half) in halves.iter().enumerate() {
        match half {
            Half::Attention(half) => {
                half.check(d)?;
                if half.qkv.is_none() != (i == 0 && qkv.is_some()) {
                    candle_core::bail!("stretch: qkv of half {i} is not there, or there twice");
                }
            }
            Half::Mlp(half) => half.check(d)?,
        }
    }
    let unused = qkv.is_some() && !matches!(halves.first(), Some(Half::Attention(_)));
    if unused || qkv.is_some_and(|qkv| qkv.dims() != [b, n, 3 * d]) {
        candle_core::bail!("stretch: qkv {:?} does not fit", qkv.map(Tensor::shape));
    }
    if crate::by_tensors(x) {
        return crate::device::stretch::stretch(x, qkv, halves);
    }
    let keeps = x.track_op() || qkv.is_some_and(Tensor::track_op);
    let op = Stretch::new(halves, [b, n, d], keeps);
    match qkv {
        Some(qkv) => crate::graph::apply2(&x.contiguous()?, &qkv.contiguous()?, op),
        None => crate::graph::apply1(&x.contiguous()?, op),
    }
}
