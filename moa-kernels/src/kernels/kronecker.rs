//! Deltas of `experts.cu`.

use super::experts::MODULE;
use super::launch::{Launch, Words, empty};
use crate::kronecker::{DropConnect, keep_factor, threshold};
use candle_core::{DType, Result, Tensor};

/// Experts, `t`, `a`, `b`: a delta is `[t a, t b]`.
pub type Sizes = (usize, usize, usize, usize);

/// Keeps every entry.
const ALL: u32 = u32::MAX;

/// The product `[t^2, E a b]` as deltas `[experts, in, out]`, some entries dropped.
pub fn place(product: &Tensor, sizes: Sizes, drop: &DropConnect, dtype: DType) -> Result<Tensor> {
    let (experts, t, a, b) = sizes;
    let h = empty((experts, t * a, t * b), dtype, product)?;
    let launch = Launch::of(product.device(), MODULE, "place", dtype)?;
    run(launch.tensor(&h)?.tensor(&product.contiguous()?)?, product, sizes, drop)?;
    Ok(h)
}

/// The gradient of the product from that of the deltas.
pub fn unplace(dh: &Tensor, sizes: Sizes, drop: &DropConnect) -> Result<Tensor> {
    let (experts, t, a, b) = sizes;
    let dproduct = empty((t * t, experts * a * b), DType::F32, dh)?;
    let launch = Launch::of(dh.device(), MODULE, "unplace", dh.dtype())?;
    run(launch.tensor(&dproduct)?.tensor(&dh.contiguous()?)?, dh, sizes, drop)?;
    Ok(dproduct)
}

fn run(launch: Launch, like: &Tensor, sizes: Sizes, drop: &DropConnect) -> Result<()> {
    let (experts, t, a, b) = sizes;
    let entries = t * a * t * b;
    let given = match drop {
        DropConnect::Given { keep, .. } => {
            Some(Tensor::from_slice(keep, keep.len(), like.device())?)
        }
        _ => None,
    };
    let (key, layer, threshold, factor) = match drop {
        DropConnect::Off => ([0; 4], 0, ALL, 1.0),
        DropConnect::Given { p, .. } => ([0; 4], 0, ALL, 1.0 / (1.0 - p)),
        DropConnect::Seeded { key, layer, p } => {
            (key.parts(), *layer, threshold(*p), keep_factor(*p))
        }
    };
    let [low, high, step, tag] = key;
    let drop = [low, high, step, tag, u32::from(layer), 0, threshold, (factor as f32).to_bits()];
    let sizes = [experts, t, a, b].map(|v| v as u32);
    let launch = launch.optional(given.as_ref())?.quad(sizes).words(Words(drop));
    launch.warps_of(entries.div_ceil(256), experts)
}
