//! `routing.cu`: gates and noise.

use super::launch::{Launch, empty};
use crate::rng::Key;
use crate::routing::{Gating, Routing};
use candle_core::{DType, Device, Result, Tensor};

pub(super) const MODULE: (&str, &str) = ("moa-routing", super::ptx::ROUTING);

/// `(probs, indices, gates)`: see [`Routing`].
pub fn choose(scores: &Tensor, gating: Gating) -> Result<(Tensor, Tensor, Tensor)> {
    let (tokens, experts) = scores.dims2()?;
    let k = gating.top_k;
    let probs = empty((tokens, experts), DType::F32, scores)?;
    let indices = empty((tokens, k), DType::U32, scores)?;
    let gates = empty((tokens, k), DType::F32, scores)?;
    let launch = Launch::plain(scores.device(), MODULE, "choose")?;
    let launch = launch.tensor(&probs)?.tensor(&indices)?.tensor(&gates)?.tensor(scores)?;
    let launch = launch.long(tokens).int(experts).int(k).int(usize::from(gating.renormalise));
    launch.threads(tokens, 1)?;
    Ok((probs, indices, gates))
}

/// The gradient of the scores from that of the gates.
pub fn score_grad(routing: &Routing, dgates: &Tensor) -> Result<Tensor> {
    let (tokens, experts, k) = (routing.tokens(), routing.experts(), routing.gating.top_k);
    let dgates = dgates.contiguous()?;
    let dscores = empty((tokens, experts), DType::F32, &dgates)?;
    let launch = Launch::plain(dgates.device(), MODULE, "score_grad")?.tensor(&dscores)?;
    let launch = launch.tensor(&dgates)?.tensor(&routing.probs)?.tensor(&routing.indices)?;
    let launch = launch.tensor(&routing.gates)?.long(tokens).int(experts).int(k);
    launch.int(usize::from(routing.gating.renormalise)).threads(tokens, 1)?;
    Ok(dscores)
}

/// See [`crate::routing::router_noise`]; the words are the same, the normals as close as
/// the device's logarithm and sine are to the CPU's.
pub fn noise(
    key: Key,
    layer: u16,
    shape: (usize, usize),
    std: f64,
    device: &Device,
) -> Result<Tensor> {
    let start = Tensor::zeros(1, DType::U8, device)?;
    let to = empty(shape, DType::F32, &start)?;
    let count = to.elem_count();
    let launch = Launch::plain(device, MODULE, "noise")?.tensor(&to)?;
    let launch = launch.quad(key.parts()).long(usize::from(layer)).long(count).double(std);
    launch.threads(count.div_ceil(4), 1)?;
    Ok(to)
}
