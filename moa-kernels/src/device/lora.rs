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
    let theta = banks.theta(experts, bias)?;
    let layer = Layer {
        x: rows(&x.detach().contiguous()?)?,
        weight: like(base.weight, x)?,
        down: like(&theta.narrow(0, 0, banks.total * banks.width)?, x)?
            .reshape((banks.total, banks.width))?,
        up: like(&theta.narrow(0, banks.total * banks.width, banks.out * banks.total)?, x)?
            .reshape((banks.out, banks.total))?,
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
    let args = [x, &routing.scores, &theta];
    let (wants, dtypes) = (args.map(Tensor::track_op), args.map(Tensor::dtype));
    let (shape_x, has_bias) = (x.shape().clone(), bias.is_some());
    node("moa-routed-lora", y.reshape(shape)?, &args, move |dy| {
        let grads = layer.backward(&rows(dy)?, &h, wants[0])?;
        let dscores = match wants[1] {
            true => Some(score_grad(&layer.routing, &grads.gates)?.to_dtype(dtypes[1])?),
            false => None,
        };
        let mut theta = vec![grads.down, grads.up];
        if has_bias {
            theta.push(sum_rows(&rows(dy)?, dtypes[2])?);
        }
        let theta = theta.iter().map(|t| t.flatten_all()?.to_dtype(dtypes[2]));
        let theta = Tensor::cat(&theta.collect::<Result<Vec<_>>>()?, 0)?;
        let dx = grads.x.map(|dx| dx.reshape(&shape_x)).transpose()?;
        Ok(vec![dx, dscores, wants[2].then_some(theta)])
    })
}

/// All experts' matrices side by side.
struct Banks {
    width: usize,
    out: usize,
    /// Ranks of all experts, filled up.
    total: usize,
    owners: Owners,
    scale: f64,
    /// There is one expert, and every token takes it with weight 1.
    single: bool,
}

impl Banks {
    fn new(experts: &[Expert], routing: &Routing, scale: f64) -> Result<Self> {
        let (down, up) = (&experts[0].down, &experts[0].up);
        let ranks = experts.iter().map(|e| e.down.dim(0)).collect::<Result<Vec<_>>>()?;
        let total = ranks.iter().sum::<usize>().next_multiple_of(ALIGNED);
        let owners = Owners::of(ranks, total, down)?;
        let single = routing.single;
        Ok(Self { width: down.dim(1)?, out: up.dim(0)?, total, owners, scale, single })
    }

    /// All trainable tensors as one: `down` `[total, in]`, `up` `[out, total]`, the bias.
    fn theta(&self, experts: &[Expert], bias: Option<&Tensor>) -> Result<Tensor> {
        let mut downs: Vec<_> = experts.iter().map(|e| e.down.clone()).collect();
        let mut ups: Vec<_> = experts.iter().map(|e| e.up.clone()).collect();
        let ranks = downs.iter().map(|d| d.dim(0)).sum::<Result<usize>>()?;
        if ranks < self.total {
            let (like, more) = (&experts[0].down, self.total - ranks);
            downs.push(Tensor::zeros((more, self.width), like.dtype(), like.device())?);
            ups.push(Tensor::zeros((self.out, more), like.dtype(), like.device())?);
        }
        let flat = [Tensor::cat(&downs, 0)?, Tensor::cat(&ups, 1)?.contiguous()?];
        let mut flat = flat.iter().map(Tensor::flatten_all).collect::<Result<Vec<_>>>()?;
        flat.extend(bias.cloned());
        Tensor::cat(&flat, 0)
    }

    /// Ranks times the scaled gate of their expert, 0 where it was not chosen.
    fn gate(&self, h: &Tensor, routing: &Routing) -> Result<Tensor> {
        if self.single {
            return if self.scale == 1.0 { Ok(h.clone()) } else { h * self.scale };
        }
        #[cfg(feature = "cuda")]
        if crate::cuda::runs(h) && routing.gates.dtype() == candle_core::DType::F32 {
            return crate::cuda::lora::gate(h, routing, &self.owners.list, self.scale);
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
        #[cfg(feature = "cuda")]
        if crate::cuda::runs(h) && routing.gates.dtype() == candle_core::DType::F32 {
            return crate::cuda::lora::gate_grad(dhg, h, routing, &self.owners.list, self.scale);
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
    down: Tensor,
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
        let (down, up) = (dh.t()?.matmul(&self.x)?, dy.t()?.matmul(&hg)?);
        Ok(Grads { x, gates, down, up })
    }
}
