//! `flash.cu` and `flash_grad.cu`: attention that never holds all probabilities.

use super::launch::{Launch, empty};
use crate::attention::Sizes;
use candle_core::{DType, Result, Tensor};

const MODULE: (&str, &str) = ("moa-flash", super::ptx::FLASH);
const GRADS: (&str, &str) = ("moa-flash-grad", super::ptx::FLASH_GRAD);
/// Of a head; no other.
const HEAD_DIM: usize = 64;
/// Threads of a block.
const THREADS: u32 = 64;

/// Queries, or keys, of a block.
fn rows_of_block(launch: &Launch) -> usize {
    if crate::metal::is(&launch.device) { 32 } else { 64 }
}

/// True if the kernels take `qkv`: heads of 64; on CUDA half precision, and tensor cores that
/// know bf16.
pub fn runs(qkv: &Tensor, sizes: Sizes) -> Result<bool> {
    let half = matches!(qkv.dtype(), DType::BF16 | DType::F16);
    let taken = half || (qkv.dtype() == DType::F32 && crate::metal::is(qkv.device()));
    if !taken || sizes.head_dim != HEAD_DIM || !super::serves(qkv.device()) {
        return Ok(false);
    }
    super::launch::compute_capability(qkv.device()).map(|c| c >= (8, 0))
}

/// The result `[b, queries, d]` of `qkv` `[b, n, 3 d]`, and for every head and query
/// the logarithm to base 2 of the sum of exponentials, `[b, heads, queries]` `f32`.
pub fn forward(qkv: &Tensor, sizes: Sizes) -> Result<(Tensor, Tensor)> {
    let Sizes { batch: b, heads: h, queries, .. } = sizes;
    let result = empty((b, queries, h * HEAD_DIM), qkv.dtype(), qkv)?;
    let lse = empty((b, h, queries), DType::F32, qkv)?;
    let launch = Launch::of(qkv.device(), MODULE, "flash", qkv.dtype())?;
    let launch = launch.tensor(&result)?.tensor(&lse)?.tensor(qkv)?;
    run(launch, sizes, queries)?;
    Ok((result, lse))
}

/// The gradient of `qkv` from that of the result; `lse` as [`forward`] returned it.
pub fn backward(
    qkv: &Tensor,
    (result, lse): (&Tensor, &Tensor),
    grad: &Tensor,
    sizes: Sizes,
) -> Result<Tensor> {
    let dqkv = empty(qkv.shape(), qkv.dtype(), qkv)?;
    let sums = empty(lse.shape(), DType::F32, qkv)?;
    let launch = Launch::of(qkv.device(), GRADS, "flash_query_grad", qkv.dtype())?;
    let launch = launch.tensor(&dqkv)?.tensor(&sums)?.tensor(qkv)?.tensor(result)?;
    run(launch.tensor(grad)?.tensor(lse)?, sizes, sizes.tokens)?;
    let launch = Launch::of(qkv.device(), GRADS, "flash_key_grad", qkv.dtype())?;
    let launch = launch.tensor(&dqkv)?.tensor(qkv)?;
    run(launch.tensor(grad)?.tensor(lse)?.tensor(&sums)?, sizes, sizes.tokens)?;
    Ok(dqkv)
}

/// A block for each part of `rows`, each head and each image.
fn run(launch: Launch, sizes: Sizes, rows: usize) -> Result<()> {
    let Sizes { batch, tokens, queries, heads, .. } = sizes;
    let grid = (rows.div_ceil(rows_of_block(&launch)) as u32, heads as u32, batch as u32);
    let launch = launch.int(tokens).int(queries).int(heads);
    launch.float(1.0 / (HEAD_DIM as f64).sqrt()).blocks(grid, THREADS)
}
