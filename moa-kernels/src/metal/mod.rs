//! Kernels for Apple's devices: `metal/*.metal`, compiled on the device when first used.
//!
//! They have the names and arguments of `cuda/*.cu`, so that [`crate::kernels`] launches both; only
//! how arguments get to the device differs. Products are candle's. If a file does not compile on
//! some machine, that is said once, and candle's own operations do all the work there.

pub mod bind;
#[cfg(feature = "metal")]
pub mod driver;
#[cfg(feature = "metal")]
mod library;
#[cfg(any(test, feature = "metal"))]
mod source;

use candle_core::{Device, Result, Tensor};

/// True if a device is one of Metal, or stands for one.
pub fn is(device: &Device) -> bool {
    device.is_metal() || (device.is_cpu() && crate::kernels::emulate::metal())
}

/// True if it is one, and compiles the kernels.
pub fn serves(device: &Device) -> bool {
    device.is_metal() && refused(device).is_none()
}

/// What the device's compiler said, if it did not compile the kernels.
pub fn refused(device: &Device) -> Option<String> {
    match device {
        #[cfg(feature = "metal")]
        Device::Metal(device) => library::refused(device),
        _ => None,
    }
}

/// The products of batches of matrices, which may be views.
pub fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    operand(a)?.matmul(&operand(b)?)
}

/// What candle's product takes: rows or columns without gaps.
fn operand(t: &Tensor) -> Result<Tensor> {
    if t.is_contiguous() || t.t()?.is_contiguous() { Ok(t.clone()) } else { t.contiguous() }
}
