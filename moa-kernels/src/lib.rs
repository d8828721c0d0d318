//! moa-kernels
