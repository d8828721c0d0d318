//! A frozen linear layer plus routed low-rank experts.

mod cpu;

use crate::cpu::{Real, by_float, data, element, tensor, with_data};
use crate::routing::Routing;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

/// The trainable tensors of one LoRA expert.
#[derive(Clone, Debug)]
pub struct Expert {
    /// `[r, in]`
    pub down: Tensor,
    /// `[out, r]`
    pub up: Tensor,
}

/// `y = x W^T + b + scale * sum_k gate_k * up_k (down_k x) [+ bias]`: the layer of
/// the paper with LoRA experts, each token weighted by the gates of `routing`.
///
/// `weight` and `base_bias` are constants here: no gradient is computed for them
/// even if they are tracked. Gradients flow to `x`, to the router's scores, to
/// the experts and to `bias`.
///
/// # Shapes
/// `x` `[tokens, in]`, `weight` `[out, in]`, `base_bias` and `bias` `[out]`; the
/// result is `[tokens, out]`.
///
/// # Errors
/// If the shapes do not fit each other or `routing`.
pub fn routed_lora(
    x: &Tensor,
    weight: &Tensor,
    base_bias: Option<&Tensor>,
    routing: &Routing,
    experts: &[Expert],
    bias: Option<&Tensor>,
    scale: f64,
) -> Result<Tensor> {
    let (tokens, width) = x.dims2()?;
    let out = weight.dim(0)?;
    let mut ranks = Vec::with_capacity(experts.len());
    for (e, expert) in experts.iter().enumerate() {
        let rank = expert.down.dim(0)?;
        if expert.down.dims() != [rank, width] || expert.up.dims() != [out, rank] {
            candle_core::bail!(
                "routed_lora: expert {e} has down {:?} and up {:?}, not [r, {width}] and [{out}, r]",
                expert.down.shape(),
                expert.up.shape()
            );
        }
        ranks.push(rank);
    }
    if weight.dims() != [out, width]
        || routing.tokens() != tokens
        || routing.experts() != experts.len()
        || [base_bias, bias].into_iter().flatten().any(|b| b.dims() != [out])
    {
        candle_core::bail!(
            "routed_lora: x {:?}, weight {:?}, {} experts and scores {:?} do not fit",
            x.shape(),
            weight.shape(),
            experts.len(),
            routing.scores.shape()
        );
    }
    // candle's operations take three tensors: the trainable ones travel as one.
    let mut flat = Vec::with_capacity(2 * experts.len() + 1);
    for expert in experts {
        flat.push(expert.down.flatten_all()?);
        flat.push(expert.up.flatten_all()?);
    }
    flat.extend(bias.cloned());
    let op = RoutedLora {
        weight: weight.detach().contiguous()?,
        base_bias: base_bias.map(Tensor::detach),
        routing: routing.clone(),
        shape: cpu::Sizes { width, out, ranks, bias: bias.is_some(), scale },
    };
    x.contiguous()?.apply_op3(&routing.scores, &Tensor::cat(&flat, 0)?, op)
}

struct RoutedLora {
    weight: Tensor,
    base_bias: Option<Tensor>,
    routing: Routing,
    shape: cpu::Sizes,
}

impl RoutedLora {
    /// Calls `f` with everything that is the same forward and backward.
    fn with_layer<T: Real, R>(
        &self,
        x: &[T],
        theta: &[T],
        f: impl FnOnce(cpu::Layer<'_, T>) -> Result<R>,
    ) -> Result<R> {
        let indices = self.routing.indices.flatten_all()?.to_vec1::<u32>()?;
        with_data(&self.weight, |weight| {
            with_data(&self.routing.gates, |gates| {
                f(cpu::Layer { x, theta, weight, gates, indices: &indices, sizes: &self.shape })
            })
        })
    }
}

impl CustomOp3 for RoutedLora {
    fn name(&self) -> &'static str {
        "moa-routed-lora"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        _scores: &CpuStorage,
        _ls: &Layout,
        theta: &CpuStorage,
        lt: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = (lx.dims()[0], self.shape.out);
        by_float!(x.dtype(), "routed_lora", T => {
            let base = self.base_bias.as_ref().map(|b| b.to_vec1::<T>()).transpose()?;
            self.with_layer::<T, _>(data(x, lx)?, data(theta, lt)?, |layer| {
                Ok(element(layer.forward(base.as_deref()), shape))
            })
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        scores: &Tensor,
        theta: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        by_float!(x.dtype(), "routed_lora", T => with_data::<T, _>(x, |x_| {
            with_data(theta, |t| with_data(dy, |g| self.with_layer::<T, _>(x_, t, |layer| {
                let grads = layer.backward(g, x.track_op());
                let dscores = match scores.track_op() {
                    true => Some(crate::routing::score_grad(&self.routing, &grads.gates)?),
                    false => None,
                };
                Ok((
                    grads.x.map(|g| tensor(g, x.shape(), x)).transpose()?,
                    dscores.map(|g| tensor(g, scores.shape(), scores)).transpose()?,
                    theta.track_op().then(|| tensor(grads.theta, theta.shape(), theta)).transpose()?,
                ))
            })))
        }))
    }
}
