//! What a layer consists of, as the kernels take it.

use super::{Role, nothing};
use crate::device::like;
use crate::kernels::routed::{EXPERTS, Parts, RANKS, Sizes};
use crate::lora::Expert;
use crate::router::{Choice, MAX_SCALE, Noise, Router};
use candle_core::{DType, Result, Tensor};

/// A frozen linear layer with LoRA experts.
pub struct Layer<'a> {
    pub weight: &'a Tensor,
    pub base_bias: Option<&'a Tensor>,
    pub experts: &'a [Expert],
    pub bias: Option<&'a Tensor>,
    pub scale: f64,
}

impl Layer<'_> {
    /// Of the result.
    pub fn shape(&self, x: &Tensor) -> Result<Vec<usize>> {
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.weight.dim(0)?;
        }
        Ok(shape)
    }

    fn biased(&self) -> bool {
        self.base_bias.is_some() || self.bias.is_some()
    }

    /// Sums of the ranks before each expert, and of all.
    fn firsts(&self) -> Vec<usize> {
        let mut firsts = vec![0];
        for expert in self.experts {
            firsts.push(firsts[firsts.len() - 1] + expert.down.dims()[0]);
        }
        firsts
    }
}

/// What trains of a router.
fn tensors(router: &Router) -> Vec<(&Tensor, Role)> {
    match router {
        Router::Linear { weight } => vec![(weight, Role::Projection)],
        Router::Cosine { weight, bias, sim, temperature } => {
            let mut all = vec![(weight, Role::Projection)];
            all.extend(bias.as_ref().map(|bias| (bias, Role::ProjectionBias)));
            all.extend([(sim, Role::Sim), (temperature, Role::Temperature)]);
            all
        }
    }
}

/// Of a layer.
fn own<'a>(layer: &Layer<'a>) -> impl Iterator<Item = (&'a Tensor, Role)> {
    let experts = layer.experts.iter().enumerate();
    let pairs = experts.flat_map(|(e, x)| [(&x.down, Role::Down(e)), (&x.up, Role::Up(e))]);
    pairs.chain(layer.bias.map(|bias| (bias, Role::Bias)))
}

/// True if the kernels take all of it; what does not fit together is left to the operations
/// that say so.
pub fn takes(x: &Tensor, router: Option<&Router>, layer: Option<&Layer<'_>>) -> bool {
    if !crate::kernels::run_of_cuda(x) || x.elem_count() == 0 {
        return false;
    }
    let plain = |t: &Tensor| t.dtype() == DType::F32;
    let width = x.dims().last().copied();
    let of_router = router.is_none_or(|router| {
        let experts = router.experts().unwrap_or(0);
        let fits = match router {
            Router::Linear { weight } => weight.dims().get(1).copied() == width,
            Router::Cosine { weight, bias, sim, temperature } => {
                let p = weight.dims()[0];
                weight.dims().get(1).copied() == width
                    && sim.dims() == [p, experts]
                    && temperature.dims() == [1]
                    && bias.as_ref().is_none_or(|b| b.dims() == [p])
            }
        };
        fits && (1..=EXPERTS).contains(&experts) && tensors(router).iter().all(|(t, _)| plain(t))
    });
    let of_layer = layer.is_none_or(|layer| {
        let ranks = layer.firsts().last().copied().unwrap_or(0) + usize::from(layer.biased());
        let (experts, out) = (layer.experts.len(), layer.weight.dims()[0]);
        let biases = [layer.base_bias, layer.bias];
        layer.weight.dims().get(1).copied() == width
            && biases.into_iter().flatten().all(|b| b.dims() == [out])
            && ranks.next_multiple_of(8) <= RANKS
            && router.map_or(experts == 1, |r| r.experts().is_ok_and(|n| n == experts))
            && own(layer).all(|(t, _)| plain(t))
    });
    of_router && of_layer
}

pub fn sizes(
    x: &Tensor,
    layer: Option<&Layer<'_>>,
    router: Option<(&Router, &Choice)>,
) -> Result<Sizes> {
    let mut s = nothing(x)?;
    s.limit = libm::log(MAX_SCALE);
    s.single = router.is_none();
    (s.experts, s.k, s.firsts) = (1, 1, vec![0, 0]);
    if let Some((router, choice)) = router {
        let gating = choice.gating;
        (s.experts, s.k, s.renormalise) = (router.experts()?, gating.top_k, gating.renormalise);
        s.firsts = vec![0; s.experts + 1];
        if s.k == 0 || s.k > s.experts {
            candle_core::bail!("routing: top_k {} of {} experts", s.k, s.experts);
        }
        s.cosine = matches!(router, Router::Cosine { .. });
        s.p = match router {
            Router::Linear { .. } => s.experts,
            Router::Cosine { sim, .. } => sim.dim(0)?,
        };
        s.noise = choice.noise.drawn().filter(|_| choice.indices.is_none());
    }
    if let Some(layer) = layer {
        s.out = layer.weight.dim(0)?;
        (s.firsts, s.biased, s.scale) = (layer.firsts(), layer.biased(), layer.scale);
    }
    Ok(s)
}

/// Everything that is tracked.
pub fn roles(
    x: &Tensor,
    layer: Option<&Layer<'_>>,
    router: Option<&Router>,
) -> Vec<(Tensor, Role)> {
    let mut all = vec![(x, Role::X)];
    all.extend(router.into_iter().flat_map(tensors));
    all.extend(layer.into_iter().flat_map(own));
    let tracked = all.into_iter().filter(|(t, _)| t.track_op());
    tracked.map(|(t, role)| (t.clone(), role)).collect()
}

/// Calls `f` with the tensors, each in one piece.
pub fn with<R>(
    x: &Tensor,
    layer: Option<&Layer<'_>>,
    router: Option<&Router>,
    f: impl FnOnce(&Parts<'_>) -> Result<R>,
) -> Result<R> {
    let whole = |t: &Tensor| t.detach().contiguous();
    let some = |t: Option<&Tensor>| t.map(whole).transpose();
    let experts = layer.map_or(&[][..], |layer| layer.experts);
    let (mut projection, mut bias, mut sim, mut temperature) = (None, None, None, None);
    match router {
        None => {}
        Some(Router::Linear { weight }) => projection = Some(whole(weight)?),
        Some(Router::Cosine { weight, bias: b, sim: s, temperature: t }) => {
            (projection, bias) = (Some(whole(weight)?), some(b.as_ref())?);
            (sim, temperature) = (Some(whole(s)?), Some(whole(t)?));
        }
    }
    let weight = layer.map(|layer| like(layer.weight, x)).transpose()?;
    let base_bias = layer.and_then(|l| l.base_bias).map(|b| like(b, x)).transpose()?;
    let own_bias = some(layer.and_then(|layer| layer.bias))?;
    f(&Parts {
        weight: weight.as_ref(),
        downs: experts.iter().map(|e| whole(&e.down)).collect::<Result<_>>()?,
        ups: experts.iter().map(|e| whole(&e.up)).collect::<Result<_>>()?,
        projection: projection.as_ref(),
        projection_bias: bias.as_ref(),
        sim: sim.as_ref(),
        temperature: temperature.as_ref(),
        base_bias: base_bias.as_ref(),
        bias: own_bias.as_ref(),
    })
}

/// Noise and choices from outside.
pub fn given(choice: &Choice, s: &Sizes, x: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let tokens = x.dim(0)?;
    if let Some(indices) = &choice.indices {
        if indices.dims() != [tokens, s.k] {
            candle_core::bail!("routing: choices {:?} of {tokens} tokens", indices.shape());
        }
        return Ok((None, Some(indices.to_dtype(DType::U32)?.contiguous()?)));
    }
    let Noise::Given(noise) = &choice.noise else { return Ok((None, None)) };
    if noise.dims() != [tokens, s.experts] {
        candle_core::bail!("routing: the noise is not [{tokens}, {}]", s.experts);
    }
    Ok((Some(noise.to_dtype(DType::F32)?.contiguous()?), None))
}
