//! Gated ranks of `routing.cu`; experts side by side of `lora.cu`.

use super::launch::{Launch, TENSORS, empty};
use super::routing::MODULE;
use crate::lora::Expert;
use crate::routing::Routing;
use candle_core::{DType, Result, Tensor};

const PACKING: (&str, &str) = ("moa-lora", super::ptx::LORA);

/// The ranks of experts, `total` with those that fill up.
pub struct Ranks {
    firsts: Vec<usize>,
    width: usize,
    out: usize,
    total: usize,
}

impl Ranks {
    /// Of experts whose tensors are all `f32` and few enough for the kernels.
    pub fn of(experts: &[Expert], total: usize) -> Result<Option<Self>> {
        let plain = |e: &Expert| [&e.down, &e.up].iter().all(|t| t.dtype() == DType::F32);
        if experts.len() >= TENSORS || !experts.iter().all(plain) {
            return Ok(None);
        }
        let mut firsts = vec![0];
        for expert in experts {
            firsts.push(firsts[firsts.len() - 1] + expert.down.dim(0)?);
        }
        let (width, out) = (experts[0].down.dim(1)?, experts[0].up.dim(0)?);
        Ok(Some(Self { firsts, width, out, total }))
    }

    fn run(&self, launch: Launch) -> Result<()> {
        let Self { firsts, width, out, total } = self;
        let launch = launch.int(firsts.len() - 1).int(*width).int(*out).int(*total);
        launch.counts(firsts.iter().copied()).threads(total * (width + out), 1)
    }

    /// `down` `[total, in]` and `up` `[out, total]` of all experts.
    pub fn pack(&self, experts: &[Expert], dtype: DType) -> Result<(Tensor, Tensor)> {
        let whole = |t: &Tensor| t.detach().contiguous();
        let downs = experts.iter().map(|e| whole(&e.down)).collect::<Result<Vec<_>>>()?;
        let ups = experts.iter().map(|e| whole(&e.up)).collect::<Result<Vec<_>>>()?;
        let down = empty((self.total, self.width), dtype, &downs[0])?;
        let up = empty((self.out, self.total), dtype, &downs[0])?;
        let launch = Launch::of(down.device(), PACKING, "pack", dtype)?;
        let launch = launch.tensor(&down)?.tensor(&up)?;
        self.run(launch.table(downs.iter())?.table(ups.iter())?)?;
        Ok((down, up))
    }

    /// `down` and `up` of each expert, one after the other, from `[total, in]` and
    /// `[total, out]`.
    pub fn unpack(&self, down: &Tensor, up: &Tensor) -> Result<Vec<Tensor>> {
        let ranks = self.firsts[self.firsts.len() - 1];
        let flat = empty(ranks * (self.width + self.out), DType::F32, down)?;
        let launch = Launch::of(down.device(), PACKING, "unpack", down.dtype())?;
        self.run(launch.tensor(&flat)?.tensor(down)?.tensor(up)?)?;
        let (mut at, mut all) = (0, Vec::new());
        for pair in self.firsts.windows(2) {
            let rank = pair[1] - pair[0];
            for shape in [(rank, self.width), (self.out, rank)] {
                let len = shape.0 * shape.1;
                all.push(flat.narrow(0, at, len)?.reshape(shape)?);
                at += len;
            }
        }
        Ok(all)
    }
}

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
