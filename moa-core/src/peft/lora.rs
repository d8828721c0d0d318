//! A single adapter of ours as LoRA.

use crate::adapter::{AdapterConfig, AdapterKind};
use crate::error::{Error, Result};
use candle_core::Tensor;
use std::collections::BTreeMap;

/// `scale * up down`, and what is added to the bias times the same scale.
pub(super) struct Lora {
    /// `[r, in]`
    pub down: Tensor,
    /// `[out, r]`
    pub up: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
}

/// True if a LoRA is written as it is, with its own alpha. Otherwise its scale goes into
/// `up`, and alpha is the rank: a bias must not be scaled.
pub(super) fn as_it_is(adapter: &AdapterConfig) -> bool {
    adapter.kind == AdapterKind::Lora && !adapter.bias
}

/// Rank and alpha.
pub(super) fn rank_and_alpha(adapter: &AdapterConfig) -> (usize, f64) {
    let r = match adapter.kind {
        AdapterKind::Lora => adapter.ranks[0],
        AdapterKind::Kronecker | AdapterKind::Compacter => adapter.t * adapter.ranks[0],
    };
    (r, if as_it_is(adapter) { adapter.scale * r as f64 } else { r as f64 })
}

/// The only expert of the layer `path`.
///
/// A Kronecker adapter is exactly a LoRA of rank `t r`: each of its terms is
/// `(s_i v_i) kron (L_i R_i) = (s_i kron L_i)(v_i kron R_i)`.
///
/// # Errors
/// If a tensor is missing.
pub(super) fn lora(
    adapter: &AdapterConfig,
    tensors: &BTreeMap<String, Tensor>,
    path: &str,
) -> Result<Lora> {
    let get = |name: &str| tensors.get(name).ok_or_else(|| Error::missing(name, tensors));
    let own = |name: &str| get(&format!("{path}.{name}"));
    let (down, mut up) = match adapter.kind {
        AdapterKind::Lora => (own("experts.0.down")?.clone(), own("experts.0.up")?.clone()),
        AdapterKind::Kronecker | AdapterKind::Compacter => {
            let (s, v) = (get("shared.left")?, get("shared.right")?);
            let (left, right) = (own("experts.0.left")?, own("experts.0.right")?);
            let (t, a, r) = left.dims3()?;
            let b = right.dim(2)?;
            // [i, 1, alpha, 1] x [i, r, 1, a] and [i, 1, gamma, 1] x [i, r, 1, b].
            let left = left.transpose(1, 2)?.contiguous()?.reshape((t, r, 1, a))?;
            let down = s.reshape((t, 1, t, 1))?.broadcast_mul(&left)?;
            let up = v.reshape((t, 1, t, 1))?.broadcast_mul(&right.reshape((t, r, 1, b))?)?;
            (down.reshape((t * r, t * a))?, up.reshape((t * r, t * b))?.t()?.contiguous()?)
        }
    };
    if !as_it_is(adapter) {
        up = (up * adapter.scale)?;
    }
    let bias = adapter.bias.then(|| own("adapter_bias").cloned()).transpose()?;
    Ok(Lora { down, up, bias })
}
