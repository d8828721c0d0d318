//! Cosine scores.

use super::{node, rows, wide};
use crate::router::MAX_SCALE;
use candle_core::{Result, Tensor};

/// Shortest length that a vector is divided by.
const EPS: f64 = 1e-12;

/// See [`crate::router::cosine_scores`]; the scores are at least `f32`.
pub fn cosine_scores(z: &Tensor, sim: &Tensor, temperature: &Tensor) -> Result<Tensor> {
    let z_ = rows(&z.detach().contiguous()?)?;
    let (sim_, temperature_) = (wide(&sim.detach())?, wide(&temperature.detach())?);
    let limit = libm::log(MAX_SCALE);
    if crate::kernels::runs(&z_) {
        return on_cuda([z, sim, temperature], z_, &sim_.contiguous()?, &temperature_, limit);
    }
    let (unit_sim, length_sim) = unit(&sim_, 0)?;
    let scale = temperature_.minimum(limit)?.exp()?;
    let (unit_z, length_z) = unit(&wide(&z_)?, 1)?;
    let cosines = unit_z.matmul(&unit_sim)?;
    let scores = cosines.broadcast_mul(&scale)?;
    let args = [z, sim, temperature];
    let (wants, dtypes) = (args.map(Tensor::track_op), args.map(Tensor::dtype));
    let shape = z.shape().clone();
    node("moa-cosine-router", scores, &args, move |grad| {
        let scaled = grad.broadcast_mul(&scale)?;
        let mut grads = vec![None; 3];
        if wants[0] {
            let du = scaled.matmul(&unit_sim.t()?)?;
            let dz = unit_grad(&unit_z, &length_z, &du, 1)?;
            grads[0] = Some(dz.to_dtype(dtypes[0])?.reshape(&shape)?);
        }
        if wants[1] {
            let du = unit_z.t()?.matmul(&scaled)?;
            grads[1] = Some(unit_grad(&unit_sim, &length_sim, &du, 0)?.to_dtype(dtypes[1])?);
        }
        if wants[2] {
            let sum = (&scaled * &cosines)?.sum_all()?;
            grads[2] = Some(temperature_grad(&temperature_, &sum)?.to_dtype(dtypes[2])?);
        }
        Ok(grads)
    })
}

/// The same by kernels.
fn on_cuda(
    args: [&Tensor; 3],
    z: Tensor,
    sim: &Tensor,
    temperature: &Tensor,
    limit: f64,
) -> Result<Tensor> {
    let units = crate::kernels::router::Units::of(sim, temperature, limit)?;
    let (scores, kept) = units.scores(&z)?;
    let likes = args.map(|t| (t.track_op(), t.shape().clone(), t.dtype()));
    node("moa-cosine-router", scores, &args, move |grad| {
        let grads = units.backward(&z, &kept, grad)?.into_iter().zip(&likes);
        let given = grads.map(|(grad, (wanted, shape, dtype))| match wanted {
            true => grad.reshape(shape)?.to_dtype(*dtype).map(Some),
            false => Ok(None),
        });
        given.collect()
    })
}

/// From the sum of the scores' gradients times the scores: 0 above the limit.
fn temperature_grad(temperature: &Tensor, sum: &Tensor) -> Result<Tensor> {
    let free = temperature.le(libm::log(MAX_SCALE))?.to_dtype(sum.dtype())?;
    free.broadcast_mul(sum)
}

/// Vectors along `dim` divided by their length, and the lengths.
fn unit(t: &Tensor, dim: usize) -> Result<(Tensor, Tensor)> {
    let length = t.sqr()?.sum_keepdim(dim)?.sqrt()?;
    Ok((t.broadcast_div(&length.maximum(EPS)?)?, length))
}

/// The gradient of vectors from that of their directions. A vector shorter than [`EPS`] is
/// divided by a constant, so that its length does not matter.
fn unit_grad(unit: &Tensor, length: &Tensor, du: &Tensor, dim: usize) -> Result<Tensor> {
    let along = (unit * du)?.sum_keepdim(dim)?;
    let along = (along * length.gt(EPS)?.to_dtype(unit.dtype())?)?;
    (du - unit.broadcast_mul(&along)?)?.broadcast_div(&length.maximum(EPS)?)
}
