//! cuBLAS.

#![allow(unsafe_code)]

use super::driver::pointer;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::cublas::{result, sys};
use candle_core::{CudaDevice, DType, Result, Tensor};

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

/// `to = a b + beta to`, of shapes that fit and are not empty.
pub fn product(
    device: &CudaDevice,
    to: &Tensor,
    (a, b): (&Tensor, &Tensor),
    beta: f32,
) -> Result<()> {
    let rank = to.rank();
    let [m, n, k] = [a.dims()[rank - 2], b.dims()[rank - 1], a.dims()[rank - 1]];
    let batch: usize = to.dims()[..rank - 2].iter().product();
    let (kind_to, kind) = (kind(to.dtype())?, kind(a.dtype())?);
    let blas = device.cublas_handle();
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
            kind_to,
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
