//! Kernels for NVIDIA devices: `cuda/*.cu`, compiled with the crate and loaded through
//! candle's device when first used.
//!
//! Each module launches the kernels of one file on tensors and returns new tensors that no
//! graph sees; [`crate::device`] makes operations of them. Without the feature `cuda` only
//! an [`emulate::Emulator`] can launch them. The same launches serve [`crate::metal`].

pub mod activation;
pub mod adam;
pub mod attention;
pub mod balance;
#[cfg(feature = "cuda")]
mod blas;
#[cfg(feature = "cuda")]
mod driver;
pub mod emulate;
pub mod experts;
pub mod factors;
pub mod flash;
pub mod gemm;
pub mod kronecker;
pub(crate) mod launch;
pub mod layer_norm;
pub mod lora;
pub mod residual;
pub mod routed;
pub mod router;
pub mod routing;

use candle_core::{DType, Device, Tensor};

/// The compiled kernels, a constant for each file.
#[allow(missing_docs)]
mod ptx {
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

/// True if the kernels run on a device: a CUDA device, one of Metal that compiles them, or the
/// CPU with an emulator.
pub fn serves(device: &Device) -> bool {
    device.is_cuda() || (device.is_cpu() && emulate::on()) || crate::metal::serves(device)
}

/// True if the kernels take a tensor: on such a device and not `f64`.
pub fn runs(t: &Tensor) -> bool {
    serves(t.device()) && matches!(t.dtype(), DType::F32 | DType::F16 | DType::BF16)
}
