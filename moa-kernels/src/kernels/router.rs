//! `router.cu` and `units.cu`.

use super::launch::{Launch, empty};
use candle_core::{DType, Result, Tensor};

const MODULE: (&str, &str) = ("moa-router", super::ptx::ROUTER);
const UNITS: (&str, &str) = ("moa-units", super::ptx::UNITS);

/// Threads of a block in `units.cu`.
const THREADS: u32 = 256;

/// The directions of the experts.
pub struct Units {
    /// Unit vectors `[experts, p]`.
    units: Tensor,
    /// What they were divided by.
    lengths: Tensor,
    /// `[1]`
    scale: Tensor,
    temperature: Tensor,
    limit: f64,
}

/// What is needed of scores later.
pub struct Kept {
    /// The scores again: an operation's own result cannot be in what it keeps.
    scores: Tensor,
    lengths: Tensor,
}

impl Units {
    /// Of `sim` `[p, experts]`, with the scale `exp(min(temperature, limit))`; all `f32`.
    pub fn of(sim: &Tensor, temperature: &Tensor, limit: f64) -> Result<Self> {
        let (p, experts) = sim.dims2()?;
        let units = empty((experts, p), DType::F32, sim)?;
        let lengths = empty(experts, DType::F32, sim)?;
        let scale = empty(1, DType::F32, sim)?;
        let launch = Launch::plain(sim.device(), UNITS, "units")?.tensor(&units)?;
        let launch = launch.tensor(&lengths)?.tensor(&scale)?.tensor(sim)?.tensor(temperature)?;
        let launch = launch.int(p).int(experts).float(limit);
        launch.blocks((experts as u32, 1, 1), THREADS)?;
        Ok(Self { units, lengths, scale, temperature: temperature.clone(), limit })
    }

    /// Scores `[tokens, experts]` of `z` `[tokens, p]`.
    pub fn scores(&self, z: &Tensor) -> Result<(Tensor, Kept)> {
        let ((tokens, p), experts) = (z.dims2()?, self.units.dim(0)?);
        let scores = empty((tokens, experts), DType::F32, z)?;
        let again = empty((tokens, experts), DType::F32, z)?;
        let lengths = empty(tokens, DType::F32, z)?;
        let launch = Launch::of(z.device(), MODULE, "cosine", z.dtype())?;
        let launch = launch.tensor(&scores)?.tensor(&again)?.tensor(&lengths)?.tensor(z)?;
        let launch = launch.tensor(&self.units)?.tensor(&self.scale)?;
        launch.long(tokens).int(p).int(experts).warps(tokens, p)?;
        Ok((scores, Kept { scores: again, lengths }))
    }

    /// The gradients of `z`, of `sim` and of the temperature from that of the scores.
    pub fn backward(&self, z: &Tensor, kept: &Kept, grad: &Tensor) -> Result<[Tensor; 3]> {
        let (p, experts) = (z.dim(1)?, self.units.dim(0)?);
        let grad = grad.contiguous()?;
        let (dz, along) = backward(z, &self.units, &self.scale, &kept.lengths, &grad)?;
        let du = z.t()?.matmul(&along)?;
        let dsim = empty((p, experts), DType::F32, z)?;
        let dtemperature = empty(1, DType::F32, z)?;
        let launch = Launch::of(z.device(), UNITS, "units_grad", du.dtype())?;
        let launch = launch.tensor(&dsim)?.tensor(&dtemperature)?.tensor(&du)?;
        let launch =
            launch.tensor(&self.units)?.tensor(&self.lengths)?.tensor(&self.temperature)?;
        let launch = launch.tensor(&grad)?.tensor(&kept.scores)?.long(grad.elem_count());
        let launch = launch.int(p).int(experts).float(self.limit);
        launch.blocks((experts as u32 + 1, 1, 1), THREADS)?;
        Ok([dz, dsim, dtemperature])
    }
}

/// The gradient of `z`, and `scale grad / length` with the type of `z`.
fn backward(
    z: &Tensor,
    units: &Tensor,
    scale: &Tensor,
    lengths: &Tensor,
    grad: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let ((tokens, p), experts) = (z.dims2()?, units.dim(0)?);
    let dz = empty((tokens, p), z.dtype(), z)?;
    let along = empty((tokens, experts), z.dtype(), z)?;
    let launch = Launch::of(z.device(), MODULE, "cosine_grad", z.dtype())?;
    let launch = launch.tensor(&dz)?.tensor(&along)?.tensor(z)?.tensor(units)?.tensor(scale)?;
    let launch = launch.tensor(lengths)?.tensor(grad)?;
    launch.long(tokens).int(p).int(experts).warps(tokens, p)?;
    Ok((dz, along))
}
