//! Products that candle's own do not offer: onto what is there, and of views whose rows
//! are padded.

#![allow(unsafe_code)]

use super::launch::{empty, pointer};
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::cublas::{result, sys};
use candle_core::{D, DType, Result, Shape, Tensor};

/// How cuBLAS, which counts columns first, reads the last two dimensions, row-major or the
/// transpose of that, and how far apart matrices of a batch are.
fn read(t: &Tensor) -> Result<(sys::cublasOperation_t, i32, i64)> {
    let rank = t.rank();
    let (dims, stride) = (t.dims(), t.stride());
    let wrong = || candle_core::Error::msg(format!("matrices {dims:?} with strides {stride:?}"));
    let (rows, cols) = (dims[rank - 2], dims[rank - 1]);
    let batch = match &stride[..rank - 2] {
        [] => 0,
        [one] => *one,
        [.., last] => {
            // All batch dimensions as one.
            for d in 0..rank - 3 {
                if stride[d] != stride[d + 1] * dims[d + 1] {
                    return Err(wrong());
                }
            }
            *last
        }
    };
    let (across, down) = (stride[rank - 1], stride[rank - 2]);
    if across == 1 && (down >= cols || rows == 1) {
        return Ok((sys::cublasOperation_t::CUBLAS_OP_N, down.max(cols) as i32, batch as i64));
    }
    if down == 1 && (across >= rows || cols == 1) {
        return Ok((sys::cublasOperation_t::CUBLAS_OP_T, across.max(rows) as i32, batch as i64));
    }
    Err(wrong())
}

fn kind(dtype: DType) -> Result<sys::cudaDataType_t> {
    match dtype {
        DType::F32 => Ok(sys::cudaDataType_t::CUDA_R_32F),
        DType::F16 => Ok(sys::cudaDataType_t::CUDA_R_16F),
        DType::BF16 => Ok(sys::cudaDataType_t::CUDA_R_16BF),
        other => candle_core::bail!("no product of {other:?}"),
    }
}

/// `sum + a b`, in place; nothing else reads `sum`.
pub fn add_product(sum: Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    run(&sum, a, b, 1.0)?;
    Ok(sum)
}

/// The products of batches of matrices, each row of them filled up to `cols` places, of
/// which nothing is written.
pub fn padded(a: &Tensor, b: &Tensor, cols: usize) -> Result<Tensor> {
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

/// A new tensor of the type of `like` for [`fill`] to write.
pub fn room(shape: impl Into<Shape>, like: &Tensor) -> Result<Tensor> {
    empty(shape, like.dtype(), like)
}

/// `to = a b`; all may be views, `to` of a tensor that nothing else reads.
pub fn fill(to: &Tensor, a: &Tensor, b: &Tensor) -> Result<()> {
    run(to, a, b, 0.0)
}

/// `to = a b + beta to`
fn run(to: &Tensor, a: &Tensor, b: &Tensor, beta: f32) -> Result<()> {
    let rank = to.rank();
    let [m, n, k] = [a.dims()[rank - 2], b.dims()[rank - 1], a.dims()[rank - 1]];
    let batch: usize = to.dims()[..rank - 2].iter().product();
    let fits = [a, b].iter().all(|t| {
        t.rank() == rank && t.dims()[..rank - 2] == to.dims()[..rank - 2] && t.dtype() == to.dtype()
    });
    if !fits || to.dims()[rank - 2..] != [m, n] || b.dims()[rank - 2] != k {
        candle_core::bail!("{:?} times {:?} to {:?}", a.shape(), b.shape(), to.shape());
    }
    if m * n * batch == 0 {
        return Ok(());
    }
    let kind = kind(to.dtype())?;
    let blas = to.device().as_cuda_device()?.cublas_handle();
    let ((op_a, row_a, step_a), (op_b, row_b, step_b)) = (read(a)?, read(b)?);
    let (sys::cublasOperation_t::CUBLAS_OP_N, row_to, step_to) = read(to)? else {
        candle_core::bail!("a product into a transposed matrix")
    };
    let (to, at_to) = to.storage_and_layout();
    let (a, at_a) = a.storage_and_layout();
    let (b, at_b) = b.storage_and_layout();
    let (to, _to) = pointer(&to, at_to.start_offset())?;
    let (a, _a) = pointer(&a, at_a.start_offset())?;
    let (b, _b) = pointer(&b, at_b.start_offset())?;
    let one = 1f32;
    // Rows as columns: to^T = b^T a^T.
    // SAFETY: the matrices lie inside their tensors with the strides given.
    unsafe {
        result::gemm_strided_batched_ex(
            *blas.handle(),
            op_b,
            op_a,
            n as i32,
            m as i32,
            k as i32,
            std::ptr::from_ref(&one).cast(),
            b as *const _,
            kind,
            row_b,
            step_b,
            a as *const _,
            kind,
            row_a,
            step_a,
            std::ptr::from_ref(&beta).cast(),
            to as *mut _,
            kind,
            row_to,
            step_to,
            batch as i32,
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    }
    .w()?;
    Ok(())
}
