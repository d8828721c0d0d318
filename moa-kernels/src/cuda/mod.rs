//! NVIDIA's devices: memory, launches and products of cuBLAS. The kernels are `cuda/*.cu`,
//! compiled with the crate and loaded through candle's device when first used.

pub mod blas;
pub mod driver;
