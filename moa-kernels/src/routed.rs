//! What LoRA and Kronecker layers share: the candle operation around a frozen
//! linear layer with routed experts.

use crate::cpu::{Real, by_float, data, element, tensor, with_data};
use crate::panels::{self, Weight};
use crate::router::{Owed, Shared};
use crate::routing::{Routing, score_grad};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

/// Checks what every kind of routed layer is given; `name` is the operation's.
pub(crate) fn check(
    name: &str,
    x: &Tensor,
    weight: &Tensor,
    biases: [Option<&Tensor>; 2],
    routing: &Routing,
    experts: usize,
) -> Result<()> {
    let (out, width) = panels::sizes(weight)?;
    let tokens = x.elem_count() / width.max(1);
    if x.dims().last() != Some(&width)
        || routing.tokens() != tokens
        || routing.experts() != experts
        || biases.into_iter().flatten().any(|b| b.dims() != [out])
    {
        candle_core::bail!(
            "{name}: x {:?}, weight {:?}, {experts} experts and scores {:?} do not fit",
            x.shape(),
            weight.shape(),
            routing.scores.shape()
        );
    }
    Ok(())
}

/// One layer applied to one batch of tokens.
pub(crate) struct Layer<'a, T, S> {
    /// `[tokens, in]`
    pub x: &'a [T],
    /// All trainable tensors of the layer, one after the other.
    pub theta: &'a [T],
    pub weight: Weight<'a, T>,
    /// `[tokens, top_k]`
    pub gates: &'a [T],
    /// `[tokens, top_k]`
    pub indices: &'a [u32],
    /// Work shared with the router.
    pub shared: &'a Shared,
    /// Sizes and settings of this kind of expert.
    pub settings: &'a S,
}

/// Gradients of one layer.
pub(crate) struct Grads<T> {
    pub x: Option<Vec<T>>,
    /// Products beside `dy weight` that add up to the gradient of `x`, if these are wanted.
    pub terms: Vec<(Vec<T>, Vec<T>)>,
    pub gates: Vec<T>,
    pub theta: Vec<T>,
}

/// What the backward pass has to say about `x`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WantsX {
    Nothing,
    Gradient,
    /// The gradient, or the terms that it consists of.
    Terms,
}

/// A kind of expert.
pub(crate) trait Experts: Sized + Send + Sync {
    /// Name of the operation.
    const NAME: &'static str;
    /// Outputs of the layer.
    fn out(&self) -> usize;
    /// The layer's output, `[tokens, out]`.
    fn forward<T: Real>(layer: &Layer<'_, T, Self>, base_bias: Option<&[T]>) -> Vec<T>;
    /// The gradients from that of the output.
    fn backward<T: Real>(layer: &Layer<'_, T, Self>, dy: &[T], wants_x: WantsX) -> Grads<T>;
}

/// The operation; its arguments are `x`, the router's scores and theta.
pub(crate) struct Routed<S> {
    pub weight: Tensor,
    pub base_bias: Option<Tensor>,
    pub routing: Routing,
    /// With the router, if it has seen the same tokens.
    pub shared: Shared,
    pub settings: S,
}

impl<S: Experts> Routed<S> {
    /// Calls `f` with everything that is the same forward and backward.
    fn with_layer<T: Real, R>(
        &self,
        x: &[T],
        theta: &[T],
        f: impl FnOnce(&Layer<'_, T, S>) -> Result<R>,
    ) -> Result<R> {
        let indices = &self.routing.indices.flatten_all()?.to_vec1::<u32>()?;
        with_data(&self.weight, |weight| {
            with_data(&self.routing.gates, |gates| {
                let (shared, settings) = (&self.shared, &self.settings);
                let weight = Weight::new(weight, self.weight.dims());
                f(&Layer { x, theta, weight, gates, indices, shared, settings })
            })
        })
    }
}

impl<S: Experts> CustomOp3 for Routed<S> {
    fn name(&self) -> &'static str {
        S::NAME
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
        let mut shape = lx.dims().to_vec();
        shape.pop();
        shape.push(self.settings.out());
        by_float!(x.dtype(), S::NAME, T => {
            let base = self.base_bias.as_ref().map(|b| b.to_vec1::<T>()).transpose()?;
            self.with_layer::<T, _>(data(x, lx)?, data(theta, lt)?, |layer| {
                Ok(element(S::forward(layer, base.as_deref()), shape))
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
        // The projection behind the scores adds this layer's part of the gradient of `x` to
        // its own, which spares a sum. Its backward pass comes later: it needs the scores'.
        let owes = self.shared.gathers() && x.track_op() && scores.track_op();
        let wants_x = match (x.track_op(), owes) {
            (false, _) => WantsX::Nothing,
            (true, false) => WantsX::Gradient,
            (true, true) => WantsX::Terms,
        };
        by_float!(x.dtype(), S::NAME, T => with_data::<T, _>(x, |x_| {
            with_data(theta, |t| with_data(dy, |g| self.with_layer::<T, _>(x_, t, |layer| {
                let grads = S::backward(layer, g, wants_x);
                let dscores = match scores.track_op() {
                    true => Some(score_grad(&self.routing, &grads.gates)?),
                    false => None,
                };
                let mut dx = grads.x.map(|g| tensor(g, x.shape(), x)).transpose()?;
                if owes {
                    let mut terms = Vec::with_capacity(grads.terms.len() + 1);
                    if dx.is_none() {
                        terms.push((dy.clone(), panels::in_rows(&self.weight)?));
                    }
                    for (a, b) in grads.terms {
                        let (a_len, b_len) = (a.len(), b.len());
                        terms.push((tensor(a, a_len, x)?, tensor(b, b_len, x)?));
                    }
                    self.shared.owe(Owed { start: dx.take(), terms });
                }
                Ok((
                    dx,
                    dscores.map(|g| tensor(g, scores.shape(), scores)).transpose()?,
                    theta.track_op().then(|| tensor(grads.theta, theta.shape(), theta)).transpose()?,
                ))
            })))
        }))
    }
}
