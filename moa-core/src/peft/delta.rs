//! The weight that an adapter stands for, from its tensors.

use super::config::{PeftConfig, PeftKind};
use super::modules::Module;
use super::tensors::{PREFIX, Tensors, misshapen};
use crate::error::{Error, Result};
use candle_core::{D, Tensor};

/// Ends of the names of an adapter's tensors.
pub(super) const PARTS: &[&str] = &[
    "lora_A.weight",
    "lora_B.weight",
    "lora_B.bias",
    "lora_magnitude_vector",
    "hada_w1_a",
    "hada_w1_b",
    "hada_w2_a",
    "hada_w2_b",
    "lokr_w1",
    "lokr_w1_a",
    "lokr_w1_b",
    "lokr_w2",
    "lokr_w2_a",
    "lokr_w2_b",
];

/// The adapted weight of a layer whose own is `weight` `[out, in]`, and what is added to
/// its bias. Takes the layer's tensors out of `tensors`.
///
/// LoRA: `W + s B A`, with DoRA each row scaled to the length that `lora_magnitude_vector`
/// holds; LoHa: `W + s (A1 B1) * (A2 B2)`; LoKr: `W + s kron(W1, W2)`.
///
/// # Errors
/// If a tensor is missing or misshapen.
pub(super) fn adapted(
    config: &PeftConfig,
    module: &Module,
    weight: &Tensor,
    tensors: &mut Tensors,
) -> Result<(Tensor, Option<Tensor>)> {
    let (out, width) = weight.dims2()?;
    let (r, scale) = config.rank_and_scale(&module.path);
    let name = |part: &str| format!("{}.{part}", module.key);
    let mut matrix = |part: &str, shape: [usize; 2]| tensors.take_flat(&name(part), shape);
    let mut bias = None;
    let delta = match config.kind {
        PeftKind::Lora => {
            let down = matrix("lora_A.weight", [r, width])?;
            matrix("lora_B.weight", [out, r])?.matmul(&down)?
        }
        PeftKind::Loha => {
            let mut product = |n: usize| -> Result<Tensor> {
                let left = matrix(&format!("hada_w{n}_a"), [out, r])?;
                Ok(left.matmul(&matrix(&format!("hada_w{n}_b"), [r, width])?)?)
            };
            (product(1)? * product(2)?)?
        }
        PeftKind::Lokr => {
            let w1 = factor(tensors, &name("lokr_w1"), r)?;
            let (a, b) = w1.dims2()?;
            let w2 = factor(tensors, &name("lokr_w2"), r)?;
            let (c, d) = w2.dims2()?;
            if (a * c, b * d) != (out, width) {
                let (wanted, found) = (vec![out, width], vec![a * c, b * d]);
                let name = format!("{PREFIX}{}", name("lokr_w1 x lokr_w2"));
                return Err(Error::Shape { name, wanted, found });
            }
            let (w1, w2) = (w1.reshape((a, 1, b, 1))?, w2.reshape((1, c, 1, d))?);
            w1.broadcast_mul(&w2)?.reshape((out, width))?
        }
    };
    let mut adapted = (weight + (delta * (module.times * scale))?)?;
    if config.has("dora") {
        let magnitude = tensors.take_flat(&name("lora_magnitude_vector"), [out, 1])?;
        let length = adapted.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
        adapted = adapted.broadcast_mul(&(magnitude / length)?)?;
    }
    if config.has("lora_bias") {
        let extra = tensors.take_flat(&name("lora_B.bias"), [out, 1])?;
        bias = Some((extra.flatten_all()? * scale)?);
    }
    Ok((adapted, bias))
}

/// A factor of LoKr as a matrix: itself, or the product of `_a` and `_b`.
fn factor(tensors: &mut Tensors, name: &str, r: usize) -> Result<Tensor> {
    let (a, b) = (format!("{name}_a"), format!("{name}_b"));
    let whole = tensors.has(name) || !(tensors.has(&a) || tensors.has(&b));
    let mut matrix = |name: &str| -> Result<Tensor> {
        let tensor = tensors.take(name)?;
        let rows = tensor.dims().first().copied().unwrap_or(1).max(1);
        Ok(tensor.reshape((rows, tensor.elem_count() / rows))?)
    };
    if whole {
        return matrix(name);
    }
    let (left, right) = (matrix(&a)?, matrix(&b)?);
    match (left.dim(1)?, right.dim(0)?) {
        (columns, _) if columns != r => Err(misshapen(&a, vec![left.dim(0)?, r], &left)),
        (_, rows) if rows != r => Err(misshapen(&b, vec![r, right.dim(1)?], &right)),
        _ => Ok(left.matmul(&right)?),
    }
}
