//! The kernels of devices: `cuda/*.cu` and `metal/*.metal`, which have the same names and
//! arguments.
//!
//! Each module launches the kernels of one file on tensors and returns new tensors that no
//! graph sees; [`crate::device`] makes operations of them. How a launch gets to the device is in
//! `cuda` and [`crate::metal`]; without those features only an [`emulate::Emulator`] does it.

pub mod activation;
pub mod adam;
pub mod attention;
pub mod balance;
pub mod emulate;
pub mod experts;
pub mod factors;
pub mod flash;
pub mod gemm;
pub mod grouped;
pub mod kronecker;
pub(crate) mod launch;
pub mod layer_norm;
pub mod lora;
pub mod residual;
pub mod routed;
pub mod router;
pub mod routing;

use candle_core::{DType, Device, Tensor};

/// The compiled kernels of CUDA, a constant for each file.
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

/// True if those of CUDA take it: Metal does not have all.
pub fn run_of_cuda(t: &Tensor) -> bool {
    runs(t) && !crate::metal::is(t.device())
}
