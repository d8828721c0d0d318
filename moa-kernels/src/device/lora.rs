//! Routed LoRA experts, masked-dense over their concatenated ranks.

mod owners;

use super::routing::{score_grad, spread};
use super::{add_bias, like, node, rows, sum_rows, wide};
use crate::lora::Expert;
use crate::routing::Routing;
use candle_core::{D, Result, Tensor};
use owners::Owners;

/// Ranks are filled up with zeros to a multiple of this: what tensor cores load at once.
const ALIGNED: usize = 8;

/// A frozen linear layer.
pub struct Base<'a> {
    pub weight: &'a Tensor,
    pub bias: Option<&'a Tensor>,
}

/// See [`crate::lora::routed_lora`].
pub fn routed_lora(
    x: &Tensor,
    base: Base<'_>,
    routing: &Routing,
    experts: &[Expert],
    bias: Option<&Tensor>,
    scale: f64,
) -> Result<Tensor> {
    let banks = Banks::new(experts, routing, scale)?;
    let (down, up) = banks.matrices(experts, x)?;
    let layer = Layer {
        x: rows(&x.detach().contiguous()?)?,
        weight: like(base.weight, x)?,
        down,
        up,
        routing: routing.detached(),
        banks,
    };
    let h = layer.x.matmul(&layer.down.t()?)?;
    let mut y = layer.base_and_up(&layer.banks.gate(&h, &layer.routing)?)?;
    for b in [base.bias, bias].into_iter().flatten() {
        y = add_bias(y, b)?;
    }
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = layer.banks.out;
    }
    let mut args = vec![x, &routing.scores];
    args.extend(experts.iter().flat_map(|e| [&e.down, &e.up]));
    args.extend(bias);
    let wants = [x.track_op(), routing.scores.track_op()];
    let likes: Vec<_> = args.iter().map(|t| (t.shape().clone(), t.dtype())).collect();
    let has_bias = bias.is_some();
    node("moa-routed-lora", y.reshape(shape)?, &args, move |dy| {
        let dy = rows(dy)?;
        let grads = layer.backward(&dy, &h, wants[0])?;
        let dscores = match wants[1] {
            true => Some(score_grad(&layer.routing, &grads.gates)?),
            false => None,
        };
        let mut all = vec![grads.x, dscores];
        all.extend(layer.banks.apart(&grads.down, &grads.up)?.into_iter().map(Some));
        if has_bias {
            all.push(Some(sum_rows(&dy, likes[2].1)?));
        }
        let all = all.into_iter().zip(&likes);
        all.map(|(t, like)| t.map(|t| t.reshape(&like.0)?.to_dtype(like.1)).transpose()).collect()
    })
}

/// All experts' matrices side by side.
struct Banks {
    width: usize,
    out: usize,
    ranks: Vec<usize>,
    /// Ranks of all experts, filled up.
    total: usize,
    owners: Owners,
    scale: f64,
    /// There is one expert, and every token takes it with weight 1.
    single: bool,
    packing: Option<crate::kernels::lora::Ranks>,
}

impl Banks {
    fn new(experts: &[Expert], routing: &Routing, scale: f64) -> Result<Self> {
        let (down, up) = (&experts[0].down, &experts[0].up);
        let ranks = experts.iter().map(|e| e.down.dim(0)).collect::<Result<Vec<_>>>()?;
        let total = ranks.iter().sum::<usize>().next_multiple_of(ALIGNED);
        Ok(Self {
            width: down.dim(1)?,
            out: up.dim(0)?,
            owners: Owners::of(ranks.clone(), total, down)?,
            ranks,
            total,
            scale,
            single: routing.single,
            packing: match crate::kernels::serves(down.device()) {
                true => crate::kernels::lora::Ranks::of(experts, total)?,
                false => None,
            },
        })
    }

    /// `down` `[total, in]` and `up` `[out, total]`, of the type of `x`.
    fn matrices(&self, experts: &[Expert], x: &Tensor) -> Result<(Tensor, Tensor)> {
        if let Some(packing) = &self.packing {
            return packing.pack(experts, x.dtype());
        }
        let mut downs: Vec<_> = experts.iter().map(|e| e.down.detach()).collect();
        let mut ups: Vec<_> = experts.iter().map(|e| e.up.detach()).collect();
        let more = self.total - self.ranks.iter().sum::<usize>();
        if more > 0 {
            let zeros = |shape| Tensor::zeros(shape, downs[0].dtype(), downs[0].device());
            let (down, up) = (zeros((more, self.width))?, zeros((self.out, more))?);
            downs.push(down);
            ups.push(up);
        }
        Ok((like(&Tensor::cat(&downs, 0)?, x)?, like(&Tensor::cat(&ups, 1)?, x)?))
    }

    /// `down` and `up` of each expert from those of all, `[total, in]` and `[total, out]`.
    fn apart(&self, down: &Tensor, up: &Tensor) -> Result<Vec<Tensor>> {
        if let Some(packing) = &self.packing {
            return packing.unpack(down, up);
        }
        let (mut first, mut all) = (0, Vec::new());
        for &rank in &self.ranks {
            all.push(down.narrow(0, first, rank)?);
            all.push(up.narrow(0, first, rank)?.t()?.contiguous()?);
            first += rank;
        }
        Ok(all)
    }

    /// Ranks times the scaled gate of their expert, 0 where it was not chosen.
    fn gate(&self, h: &Tensor, routing: &Routing) -> Result<Tensor> {
        if self.single {
            return if self.scale == 1.0 { Ok(h.clone()) } else { h * self.scale };
        }
        if crate::kernels::runs(h) && routing.gates.dtype() == candle_core::DType::F32 {
            return crate::kernels::lora::gate(h, routing, &self.owners.list, self.scale);
        }
        let owner = &self.owners.table;
        let gates = spread(&routing.indices, &routing.gates, owner.dim(0)?)?;
        let gates = (gates.matmul(&like(owner, &gates)?)? * self.scale)?;
        (wide(h)? * wide(&gates)?)?.to_dtype(h.dtype())
    }

    /// Gradients of the gates `[tokens, top_k]` and of the ranks.
    fn gate_grad(&self, dhg: &Tensor, h: &Tensor, routing: &Routing) -> Result<(Tensor, Tensor)> {
        if self.single {
            return Ok((routing.gates.zeros_like()?, self.gate(dhg, routing)?));
        }
        if crate::kernels::runs(h) && routing.gates.dtype() == candle_core::DType::F32 {
            return crate::kernels::lora::gate_grad(dhg, h, routing, &self.owners.list, self.scale);
        }
        let sums = (wide(dhg)? * wide(h)?)?.matmul(&like(&self.owners.table, &wide(h)?)?.t()?)?;
        let gates = (sums.gather(&routing.indices, D::Minus1)? * self.scale)?;
        Ok((gates.to_dtype(routing.gates.dtype())?, self.gate(dhg, routing)?))
    }
}

struct Layer {
    x: Tensor,
    weight: Tensor,
    down: Tensor,
    up: Tensor,
    routing: Routing,
    banks: Banks,
}

struct Grads {
    x: Option<Tensor>,
    gates: Tensor,
    /// `[total, in]`
    down: Tensor,
    /// `[total, out]`
    up: Tensor,
}

impl Layer {
    /// `x W^T + hg up^T`
    fn base_and_up(&self, hg: &Tensor) -> Result<Tensor> {
        let y = self.x.matmul(&self.weight.t()?)?;
        super::add_product(y, hg, &self.up.t()?)
    }

    fn backward(&self, dy: &Tensor, h: &Tensor, wants_x: bool) -> Result<Grads> {
        let dhg = dy.matmul(&self.up)?;
        let hg = self.banks.gate(h, &self.routing)?;
        let (gates, dh) = self.banks.gate_grad(&dhg, h, &self.routing)?;
        let x = match wants_x {
            true => Some(super::add_product(dy.matmul(&self.weight)?, &dh, &self.down)?),
            false => None,
        };
        let (down, up) = (dh.t()?.matmul(&self.x)?, hg.t()?.matmul(dy)?);
        Ok(Grads { x, gates, down, up })
    }
}
