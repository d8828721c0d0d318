//! Routed Kronecker experts: every delta is built once, tokens are ordered by their expert,
//! and each expert is one product over its tokens.

mod delta;
mod order;
mod spans;

use super::routing::score_grad;
use super::{like, node, rows, sum_rows};
use crate::kronecker::{DropConnect, Expert, Shared};
use crate::routing::Routing;
use candle_core::{Result, Tensor};
use delta::Deltas;
use order::Order;

pub use super::lora::Base;
pub use delta::materialise;

/// See [`crate::kronecker::routed_kronecker`].
#[allow(clippy::too_many_arguments)]
pub fn routed_kronecker(
    x: &Tensor,
    base: Base<'_>,
    routing: &Routing,
    shared: &Shared,
    experts: &[Expert],
    bias: Option<&Tensor>,
    scale: f64,
    drop: DropConnect,
) -> Result<Tensor> {
    let deltas = Deltas::new(shared, experts, drop)?;
    let (rows_of_x, (out, width)) = (rows(&x.detach().contiguous()?)?, base.weight.dims2()?);
    let layer = Layer {
        order: Order::new(routing, &rows_of_x, (width, out))?,
        x: rows_of_x,
        weight: like(base.weight, x)?,
        h: deltas.build(x.dtype())?,
        routing: routing.detached(),
        deltas,
        scale,
    };
    let constant = match (base.bias, bias) {
        (Some(a), Some(b)) => Some((like(a, b)? + b.detach())?),
        (a, b) => a.or(b).cloned(),
    };
    let y = layer.forward(constant.as_ref())?;
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = out;
    }
    let mut args = vec![x, &routing.scores, &shared.left, &shared.right];
    args.extend(experts.iter().flat_map(|e| [&e.left, &e.right]));
    args.extend(bias);
    let wants = [x.track_op(), routing.scores.track_op()];
    let likes: Vec<_> = args.iter().map(|t| (t.shape().clone(), t.dtype())).collect();
    let has_bias = bias.is_some();
    node("moa-routed-kronecker", y.reshape(shape)?, &args, move |dy| {
        let dy = rows(dy)?;
        let grads = layer.backward(&dy, wants[0])?;
        let dscores = match wants[1] {
            true => Some(score_grad(&layer.routing, &grads.gates)?),
            false => None,
        };
        let mut all = vec![grads.x, dscores];
        all.extend(grads.factors.into_iter().map(Some));
        if has_bias {
            all.push(Some(sum_rows(&dy, likes[2].1)?));
        }
        let all = all.into_iter().zip(&likes);
        all.map(|(t, like)| t.map(|t| t.reshape(&like.0)?.to_dtype(like.1)).transpose()).collect()
    })
}

struct Layer {
    x: Tensor,
    weight: Tensor,
    order: Order,
    /// `[experts, in, out]`
    h: Tensor,
    routing: Routing,
    deltas: Deltas,
    scale: f64,
}

struct Grads {
    x: Option<Tensor>,
    /// `[tokens, top_k]`
    gates: Tensor,
    /// Of the shared ones and of each expert's.
    factors: Vec<Tensor>,
}

impl Layer {
    fn gates(&self) -> (&Tensor, f64) {
        (&self.routing.gates, self.scale)
    }

    /// `[tokens, out]`
    fn forward(&self, bias: Option<&Tensor>) -> Result<Tensor> {
        let y = self.order.times(&self.order.rows(&self.x)?, &self.h)?;
        let base = self.x.matmul(&self.weight.t()?)?;
        self.order.combine(&base, &y, self.gates(), bias)
    }

    fn backward(&self, dy: &Tensor, wants_x: bool) -> Result<Grads> {
        let (order, gates) = (&self.order, self.gates());
        let d = order.rows(dy)?;
        let back = order.times(&d, &self.h.transpose(1, 2)?)?;
        // As (dy H^T) . x = dy . (x H), what goes back also gives the gradient of the gate.
        let dgates = order.dots(&back, &self.x, self.scale)?.to_dtype(gates.0.dtype())?;
        let dx = match wants_x {
            true => Some(order.combine(&dy.matmul(&self.weight)?, &back, gates, None)?),
            false => None,
        };
        let x = order.gather(&self.x, Some(gates))?;
        let factors = self.deltas.grads(&order.outer(&x, &d)?)?;
        Ok(Grads { x: dx, gates: dgates, factors })
    }
}
