//! Kernels for NVIDIA devices: `cuda/*.cu`, compiled with the crate and loaded through
//! candle's device when first used.
//!
//! Each module launches the kernels of one file on tensors and returns new tensors that no
//! graph sees; [`crate::device`] makes operations of them.

pub mod activation;
pub mod adam;
pub mod attention;
pub mod balance;
pub mod experts;
pub mod flash;
pub mod gemm;
pub mod kronecker;
mod launch;
pub mod layer_norm;
pub mod lora;
pub mod residual;
pub mod router;
pub mod routing;

use candle_core::{DType, Tensor};

/// The compiled kernels, a constant for each file.
#[allow(missing_docs)]
mod ptx {
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

/// True if the kernels take a tensor: on a CUDA device and not `f64`.
pub fn runs(t: &Tensor) -> bool {
    t.device().is_cuda() && matches!(t.dtype(), DType::F32 | DType::F16 | DType::BF16)
}
