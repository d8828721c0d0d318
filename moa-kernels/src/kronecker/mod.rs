//! A frozen linear layer plus routed Kronecker experts ("KAdaptation").

mod cpu;
mod delta;
mod expert;
mod factored;
mod mask;

pub(crate) use mask::threshold;
pub use mask::{DropConnect, keep_factor, keep_mask};

use crate::cpu::{by_float, tensor, with_data};
use crate::graph::{self, Reads};
use crate::panels;
use crate::routed::{Routed, check};
use crate::routing::Routing;
use candle_core::{Result, Tensor};

/// The tensors that all experts, and all layers, share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// `[t, t, 1]`
    pub left: Tensor,
    /// `[t, 1, t]`
    pub right: Tensor,
}

/// The trainable tensors of one Kronecker expert.
#[derive(Clone, Debug)]
pub struct Expert {
    /// `[t, in / t, r]`
    pub left: Tensor,
    /// `[t, r, out / t]`
    pub right: Tensor,
}

/// `y = x W^T + b + scale * sum_k gate_k * x H_k [+ bias]` with
/// `H_e = sum_i (s_i v_i) (x) (L_ei R_ei)`, `(x)` the Kronecker product, `s_i` and
/// `v_i` the shared factors (paper section 3, reference code `K_Linear_MoE_new_`).
///
/// `drop` removes entries of every `H_e` before it is used, the same for all
/// tokens, and divides the others by the kept share.
///
/// `weight` and `base_bias` are constants here: no gradient is computed for them
/// even if they are tracked. Gradients flow to `x`, to the router's scores, to
/// the factors and to `bias`.
///
/// # Shapes
/// `x` `[..., in]`, `weight` `[out, in]`, `base_bias` and `bias` `[out]`; the
/// result is `[..., out]`. `t` divides `in` and `out`.
///
/// # Errors
/// If the shapes do not fit each other or `routing`.
#[allow(clippy::too_many_arguments)]
pub fn routed_kronecker(
    x: &Tensor,
    weight: &Tensor,
    base_bias: Option<&Tensor>,
    routing: &Routing,
    shared: &Shared,
    experts: &[Expert],
    bias: Option<&Tensor>,
    scale: f64,
    drop: DropConnect,
) -> Result<Tensor> {
    let ((out, width), t) = (panels::sizes(weight)?, shared.left.dim(0)?);
    if t == 0 || !width.is_multiple_of(t) || !out.is_multiple_of(t) {
        candle_core::bail!("routed_kronecker: t = {t} does not divide {width} and {out}");
    }
    if shared.left.dims() != [t, t, 1] || shared.right.dims() != [t, 1, t] {
        candle_core::bail!("routed_kronecker: the shared factors are not [t, t, 1] and [t, 1, t]");
    }
    let mut ranks = Vec::with_capacity(experts.len());
    for (e, expert) in experts.iter().enumerate() {
        let rank = expert.left.dims3()?.2;
        if expert.left.dims() != [t, width / t, rank] || expert.right.dims() != [t, rank, out / t] {
            candle_core::bail!(
                "routed_kronecker: expert {e} has left {:?} and right {:?}, not [{t}, {}, r] and \
                 [{t}, r, {}]",
                expert.left.shape(),
                expert.right.shape(),
                width / t,
                out / t
            );
        }
        ranks.push(rank);
    }
    check("routed_kronecker", x, weight, [base_bias, bias], routing, experts.len())?;
    drop.check(experts.len() * width * out)?;
    if crate::by_tensors(x) {
        let base = crate::device::kronecker::Base { weight, bias: base_bias };
        return crate::device::kronecker::routed_kronecker(
            x, base, routing, shared, experts, bias, scale, drop,
        );
    }
    // candle's operations take three tensors: the trainable ones travel as one.
    let mut flat = vec![shared.left.flatten_all()?, shared.right.flatten_all()?];
    for expert in experts {
        flat.push(expert.left.flatten_all()?);
        flat.push(expert.right.flatten_all()?);
    }
    flat.extend(bias.cloned());
    let sizes = delta::Sizes { width, out, t, ranks };
    let op = Routed {
        weight: weight.detach().contiguous()?,
        base_bias: base_bias.map(Tensor::detach),
        routing: routing.clone(),
        shared: routing.shared.of(x),
        settings: cpu::Settings { sizes, bias: bias.is_some(), scale, drop },
    };
    graph::apply3(&x.contiguous()?, &routing.scores, &Tensor::cat(&flat, 0)?, op, Reads::Arguments)
}

/// The delta `H` of one expert without dropout, `[in, out]`, for merging.
///
/// # Errors
/// If the shapes do not fit.
pub fn materialise(shared: &Shared, expert: &Expert) -> Result<Tensor> {
    if crate::by_tensors(&expert.left) {
        return crate::device::kronecker::materialise(shared, expert);
    }
    let (t, a, rank) = expert.left.dims3()?;
    let (_, _, b) = expert.right.dims3()?;
    let sizes = delta::Sizes { width: t * a, out: t * b, t, ranks: vec![rank] };
    let flat = [&shared.left, &shared.right, &expert.left, &expert.right];
    let flat = flat.iter().map(|t| t.detach().flatten_all()).collect::<Result<Vec<_>>>()?;
    let theta = Tensor::cat(&flat, 0)?;
    by_float!(theta.dtype(), "materialise", T => with_data::<T, _>(&theta, |theta| {
        let factors = sizes.factors(theta);
        tensor(sizes.delta(&factors.outer(), &factors.inner(0)), (t * a, t * b), &shared.left)
    }))
}
