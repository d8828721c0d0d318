//! The operations on every device but the CPU, from tensor functions.
//!
//! Forward and backward passes are written once, over tensors that no graph sees; what a
//! kernel of ours does faster, it does where there is one, and candle's own operations do
//! the rest. They also run on the CPU, which is how they are tested without a device.
//!
//! Sums, norms, softmax and gates are computed in `f32` whatever the type of the tokens.
//! Trainable tensors keep their type (`f32`) beside tokens and frozen weights of half
//! precision; their gradients have it too.

pub mod activation;
pub mod attention;
pub mod balance;
pub mod cross_entropy;
pub mod kronecker;
pub mod layer_norm;
pub mod linear;
pub mod lora;
pub mod miro;
pub mod residual;
pub mod routed;
pub mod router;
pub mod routing;
pub mod stretch;

use crate::graph::node;
use candle_core::{D, DType, Result, Tensor};
use std::sync::{Mutex, PoisonError};

/// Rows of ones that are kept: as many as a step has different numbers of tokens, and more.
const MOST_ONES: usize = 16;

/// Rows of the last dimension, `[rows, d]`.
fn rows(t: &Tensor) -> Result<Tensor> {
    t.reshape(((), t.dim(D::Minus1)?))
}

/// The type that sums are computed in: `f64` for `f64`, else `f32`.
fn wide(t: &Tensor) -> Result<Tensor> {
    t.to_dtype(if t.dtype() == DType::F64 { DType::F64 } else { DType::F32 })
}

/// `t`, no graph attached, contiguous and with the type of `x`.
fn like(t: &Tensor, x: &Tensor) -> Result<Tensor> {
    t.detach().to_dtype(x.dtype())?.contiguous()
}

/// Sums over rows `[rows, d]`, as `[d]` of type `dtype`.
fn sum_rows(t: &Tensor, dtype: DType) -> Result<Tensor> {
    // A product: candle adds up leading dimensions one element at a time.
    ones(t.dim(0)?, t)?.matmul(t)?.squeeze(0)?.to_dtype(dtype)
}

/// `[1, count]` ones, of the type of `like` and on its device; made once.
fn ones(count: usize, like: &Tensor) -> Result<Tensor> {
    static MADE: Mutex<Vec<Tensor>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |t: &&Tensor| {
        t.dims() == [1, count] && t.dtype() == like.dtype() && t.device().same_device(like.device())
    };
    if let Some(ones) = made.iter().find(fits) {
        return Ok(ones.clone());
    }
    let ones = Tensor::ones((1, count), like.dtype(), like.device())?;
    made.truncate(MOST_ONES - 1);
    made.insert(0, ones.clone());
    Ok(ones)
}

/// 1 at the place that each index `[rows, 1]` names, else 0, `[rows, places]`.
fn one_hot(indices: &Tensor, places: usize, dtype: DType) -> Result<Tensor> {
    let all = Tensor::arange(0u32, places as u32, indices.device())?.reshape((1, places))?;
    indices.broadcast_eq(&all)?.to_dtype(dtype)
}

/// Rows plus a bias; `rows` is a new tensor that nothing else reads.
fn add_bias(rows: Tensor, bias: &Tensor) -> Result<Tensor> {
    let bias = like(bias, &rows)?;
    if crate::kernels::runs(&rows) {
        return crate::kernels::activation::add_bias(rows, &bias);
    }
    rows.broadcast_add(&bias)
}

/// `sum + a b`; `sum` is a new tensor that nothing else reads.
fn add_product(sum: Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if crate::kernels::runs(&sum) {
        return crate::kernels::gemm::add_product(sum, a, b);
    }
    sum + a.matmul(b)?
}
