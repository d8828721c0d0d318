//! Numbers of a device, on the host in double precision, which not every device has.

use candle_core::{DType, Device, Result, Tensor};

/// Of a tensor.
///
/// # Errors
/// Only if the device fails.
pub fn in_double(tensor: &Tensor) -> Result<Tensor> {
    tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)
}

/// The only one.
///
/// # Errors
/// If there are more, or the device fails.
pub fn scalar(tensor: &Tensor) -> Result<f64> {
    in_double(tensor)?.to_scalar()
}
