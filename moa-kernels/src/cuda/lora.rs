//! Gated ranks of `routing.cu`.

use super::launch::{Launch, empty};
use super::routing::MODULE;
use crate::routing::Routing;
use candle_core::{DType, Result, Tensor};

/// Ranks `[tokens, ranks]` times the scaled gate of their expert, 0 where not chosen.
pub fn gate(h: &Tensor, routing: &Routing, owners: &Tensor, scale: f64) -> Result<Tensor> {
    let ((tokens, ranks), h) = (h.dims2()?, h.contiguous()?);
    let to = empty((tokens, ranks), h.dtype(), &h)?;
    let launch = Launch::of(h.device(), MODULE, "gate", h.dtype())?.tensor(&to)?.tensor(&h)?;
    let launch = launch.tensor(&routing.gates)?.tensor(&routing.indices)?.tensor(owners)?;
    let launch = launch.long(tokens).int(ranks).int(routing.gating.top_k).float(scale);
    launch.threads(tokens * ranks, 1)?;
    Ok(to)
}

/// The gradients of gates `[tokens, top_k]` and of ranks from that of gated ranks.
pub fn gate_grad(
    dhg: &Tensor,
    h: &Tensor,
    routing: &Routing,
    owners: &Tensor,
    scale: f64,
) -> Result<(Tensor, Tensor)> {
    let ((tokens, ranks), k) = (h.dims2()?, routing.gating.top_k);
    let (h, dhg) = (h.contiguous()?, dhg.contiguous()?);
    let dgates = empty((tokens, k), DType::F32, &h)?;
    let dh = empty((tokens, ranks), h.dtype(), &h)?;
    let launch = Launch::of(h.device(), MODULE, "gate_grad", h.dtype())?;
    let launch = launch.tensor(&dgates)?.tensor(&dh)?.tensor(&dhg)?.tensor(&h)?;
    let launch = launch.tensor(&routing.gates)?.tensor(&routing.indices)?.tensor(owners)?;
    launch.long(tokens).int(ranks).int(k).float(scale).threads(tokens, 1)?;
    Ok((dgates, dh))
}
