//! Products that candle's own do not offer: onto what is there, and of views whose rows
//! are padded.

use super::launch::empty;
use candle_core::{D, DType, Result, Shape, Tensor};

/// `sum + a b`, in place; nothing else reads `sum`.
pub fn add_product(sum: Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if crate::metal::is(sum.device()) {
        return sum + crate::metal::product(a, b)?;
    }
    run(&sum, a, b, 1.0)?;
    Ok(sum)
}

/// The products of batches of matrices, each row of them filled up to `cols` places, of
/// which nothing is written; on Metal not filled up.
pub fn padded(a: &Tensor, b: &Tensor, cols: usize) -> Result<Tensor> {
    if crate::metal::is(a.device()) {
        return crate::metal::product(a, b); // rows as they are
    }
    let mut dims = a.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = cols;
    }
    let to = empty(dims, a.dtype(), a)?;
    run(&to.narrow(D::Minus1, 0, b.dim(D::Minus1)?)?, a, b, 0.0)?;
    Ok(to)
}

/// The products of batches of matrices, which may be views.
pub fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    padded(a, b, b.dim(D::Minus1)?)
}

/// The product of two matrices, in `f32` whatever their type.
pub fn in_f32(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let to = empty((a.dim(0)?, b.dim(1)?), DType::F32, a)?;
    run(&to, a, b, 0.0)?;
    Ok(to)
}

/// A new tensor of the type of `like` for [`fill`] to write.
pub fn room(shape: impl Into<Shape>, like: &Tensor) -> Result<Tensor> {
    empty(shape, like.dtype(), like)
}

/// `to = a b`; all may be views, `to` of a tensor that nothing else reads.
pub fn fill(to: &Tensor, a: &Tensor, b: &Tensor) -> Result<()> {
    run(to, a, b, 0.0)
}

/// `to = a b + beta to`; `to` has their type or `f32`.
fn run(to: &Tensor, a: &Tensor, b: &Tensor, beta: f32) -> Result<()> {
    let rank = to.rank();
    let [m, n, k] = [a.dims()[rank - 2], b.dims()[rank - 1], a.dims()[rank - 1]];
    let batch: usize = to.dims()[..rank - 2].iter().product();
    let fits = [a, b].iter().all(|t| {
        t.rank() == rank && t.dims()[..rank - 2] == to.dims()[..rank - 2] && t.dtype() == a.dtype()
    });
    let fits = fits && (to.dtype() == a.dtype() || to.dtype() == DType::F32);
    if !fits || to.dims()[rank - 2..] != [m, n] || b.dims()[rank - 2] != k {
        candle_core::bail!("{:?} times {:?} to {:?}", a.shape(), b.shape(), to.shape());
    }
    if m * n * batch == 0 {
        return Ok(());
    }
    match to.device() {
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(device) => crate::cuda::blas::product(device, to, (a, b), beta),
        _ => super::emulate::product(to, (a, b), beta),
    }
}
