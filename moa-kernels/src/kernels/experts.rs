//! Tokens in the order of their experts: `experts.cu`.

use super::launch::{Launch, empty};
use candle_core::{DType, Result, Tensor};

pub(super) const MODULE: (&str, &str) = ("moa-experts", super::ptx::EXPERTS);

const ORDER: (&str, &str) = ("moa-order", super::ptx::ORDER);
/// Of these at most `order.cu` orders the tokens.
pub const MOST: usize = 16;

/// The pairs of tokens and choices by expert: the pair at each place, its token, the place of
/// each pair, and the first place of each expert and of none, all `u32`.
pub fn order(indices: &Tensor, experts: usize) -> Result<[Tensor; 4]> {
    let (count, k) = (indices.elem_count(), indices.dim(1)?);
    let new = |n: usize| empty(n, DType::U32, indices);
    let all = [new(count)?, new(count)?, new(count)?, new(experts + 1)?];
    let mut launch = Launch::plain(indices.device(), ORDER, "order")?;
    for to in &all {
        launch = launch.tensor(to)?;
    }
    let launch = launch.tensor(&indices.contiguous()?)?.int(count).int(experts).int(k);
    launch.blocks((1, 1, 1), 32 * MOST as u32)?;
    Ok(all)
}

/// Gates `[tokens, top_k]` and what all of them are multiplied by.
pub type Scaled<'a> = (&'a Tensor, f64);

/// The row of `from` of the token of each pair, `top_k` to a token, times its scaled gate.
pub fn gather(
    from: &Tensor,
    pairs: &Tensor,
    top_k: usize,
    gates: Option<Scaled<'_>>,
) -> Result<Tensor> {
    let ((_, d), count, from) = (from.dims2()?, pairs.elem_count(), from.contiguous()?);
    let scale = gates.map_or(1.0, |(_, scale)| scale);
    let gates = gates.map(|(gates, _)| single(gates)).transpose()?;
    let to = empty((count, d), from.dtype(), &from)?;
    let launch = Launch::of(from.device(), MODULE, "gather", from.dtype())?;
    let launch = launch.tensor(&to)?.tensor(&from)?.tensor(pairs)?.optional(gates.as_ref())?;
    let launch = launch.long(count).int(d).int(top_k).float(scale);
    launch.elements(count * d, d)?;
    Ok(to)
}

/// `base` plus, for each token, the rows at the places of its pairs, each times its scaled gate,
/// plus a bias.
pub fn combine(
    base: &Tensor,
    rows: &Tensor,
    places: &Tensor,
    (gates, scale): Scaled<'_>,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let ((tokens, d), base, top_k) = (base.dims2()?, base.contiguous()?, gates.dim(1)?);
    let to = empty((tokens, d), base.dtype(), &base)?;
    let launch = Launch::of(base.device(), MODULE, "combine", base.dtype())?;
    let launch = launch.tensor(&to)?.tensor(&base)?.tensor(&rows.contiguous()?)?;
    let launch = launch.tensor(places)?.tensor(&single(gates)?)?.optional(bias)?;
    launch.long(tokens).int(d).int(top_k).float(scale).elements(tokens * d, d)?;
    Ok(to)
}

/// As kernels take gates.
fn single(gates: &Tensor) -> Result<Tensor> {
    gates.to_dtype(DType::F32)?.contiguous()
}

/// `scale` times the products of the rows of `a` at the place of each pair and the rows of `b`
/// of its token, `[pairs]` `f32`.
pub fn dots(a: &Tensor, b: &Tensor, places: &Tensor, top_k: usize, scale: f64) -> Result<Tensor> {
    let ((_, d), pairs) = (a.dims2()?, places.elem_count());
    let to = empty(pairs, DType::F32, a)?;
    let launch = Launch::of(a.device(), MODULE, "dots", a.dtype())?.tensor(&to)?;
    let launch = launch.tensor(&a.contiguous()?)?.tensor(&b.contiguous()?)?.tensor(places)?;
    launch.long(pairs).int(d).int(top_k).float(scale).warps(pairs, d)?;
    Ok(to)
}
