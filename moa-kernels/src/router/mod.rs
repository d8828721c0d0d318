//! The cosine router (method of Tutel's `CosineTopKGate`, used by the paper):
//! each token and each expert is a direction; their cosine, scaled by a learned
//! temperature, is the score. A linear router is [`project`] alone.

mod cpu;
mod project;
mod route;

pub(crate) use project::{Owed, forward_joint, gathered};
pub use project::{Shared, project};
pub use route::{Choice, Noise, Router};

use crate::cpu::{by_float, data, element, tensor, with_data};
use crate::graph::{self, Reads};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

/// The scale `exp(temperature)` never exceeds this.
pub const MAX_SCALE: f64 = 100.0;

/// `exp(min(temperature, ln 100)) * cos(z_t, sim_e)` for every token and expert.
///
/// Rows of `z` and columns of `sim` are divided by their length, at least 1e-12
/// (PyTorch `F.normalize`).
///
/// # Shapes
/// `z` `[..., p]`, all before `p` tokens, `sim` `[p, experts]`, `temperature` `[1]`; the result is
/// `[tokens, experts]`.
///
/// # Errors
/// If the shapes do not fit or the type is neither `f32` nor `f64`.
pub fn cosine_scores(z: &Tensor, sim: &Tensor, temperature: &Tensor) -> Result<Tensor> {
    let (rows, _) = sim.dims2()?;
    if z.dims().last() != Some(&rows) || temperature.dims() != [1] {
        candle_core::bail!(
            "cosine_scores: z {:?}, sim {:?} and temperature {:?} do not fit",
            z.shape(),
            sim.shape(),
            temperature.shape()
        );
    }
    if crate::by_tensors(z) {
        return crate::device::router::cosine_scores(z, sim, temperature);
    }
    graph::apply3(&z.contiguous()?, &sim.contiguous()?, temperature, Cosine, Reads::Result)
}

struct Cosine;

impl CustomOp3 for Cosine {
    fn name(&self) -> &'static str {
        "moa-cosine-router"
    }

    fn cpu_fwd(
        &self,
        z: &CpuStorage,
        lz: &Layout,
        sim: &CpuStorage,
        ls: &Layout,
        temperature: &CpuStorage,
        lt: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (p, experts) = (ls.dims()[0], ls.dims()[1]);
        let tokens = lz.shape().elem_count() / p.max(1);
        by_float!(z.dtype(), "cosine_scores", T => {
            let temperature = data::<T>(temperature, lt)?[0];
            let scores = cpu::forward(data(z, lz)?, data(sim, ls)?, experts, temperature);
            Ok(element(scores, (tokens, experts)))
        })
    }

    fn bwd(
        &self,
        z: &Tensor,
        sim: &Tensor,
        temperature: &Tensor,
        scores: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let experts = sim.dim(1)?;
        by_float!(z.dtype(), "cosine_scores", T => with_data::<T, _>(z, |z_| {
            with_data::<T, _>(sim, |s| with_data::<T, _>(grad, |g| with_data::<T, _>(scores, |c| {
                let t = temperature.to_vec1::<T>()?[0];
                let grads = cpu::backward(z_, s, experts, t, c, g);
                Ok((
                    z.track_op().then(|| tensor(grads.z, z.shape(), z)).transpose()?,
                    sim.track_op().then(|| tensor(grads.sim, sim.shape(), sim)).transpose()?,
                    temperature
                        .track_op()
                        .then(|| tensor(vec![grads.temperature], 1, temperature))
                        .transpose()?,
                ))
            })))
        }))
    }
}
