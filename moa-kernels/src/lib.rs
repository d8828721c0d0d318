//! Differentiable operations of mixture-of-adapters vision transformers, as
//! candle custom operations with analytic backward passes.
//!
//! candle's own fused layer norm and softmax cut the graph without an error,
//! and its matrix product computes gradients of frozen operands; the
//! operations here do neither. Each skips every gradient that nobody tracks.
//!
//! | module | operation |
//! |---|---|
//! | [`linear`] | `x W^T + b`, any of the three trainable or frozen |
//! | [`layer_norm`] | layer normalisation, frozen or trainable affine |
//! | [`attention`] | softmax attention on a fused qkv |
//! | [`activation`] | GELU (exact, quick), SwiGLU |
//! | [`adam`] | one update of a trainable tensor |
//! | [`frozen`] | whole frozen parts of a block, which keep little |
//! | [`residual`] | `x + gamma * y` |
//! | [`dropout`] | seeded dropout |
//! | [`cross_entropy`] | mean cross-entropy of class labels |
//! | [`miro`] | distance of features from the pretrained network's |
//! | [`router`] | cosine scores of experts |
//! | [`routing`] | noise, softmax, top-k gates, balance loss |
//! | [`lora`], [`kronecker`] | frozen linear plus routed experts |
//! | [`mod@reference`] | the same in plain `f64` loops, to test against |
//! | [`selfcheck`] | all operations against those loops, on any device |
//! | [`panels`] | frozen weights in the order of products |
//! | [`memory`] | the allocator's habits |
//! | [`rng`] | the one source of randomness |
//!
//! On the CPU all of them run through rayon and gemm, in `f32` and `f64`, with
//! results that do not depend on the number of threads: sums over tokens are
//! split at fixed places and added in order.

pub mod activation;
pub mod adam;
pub mod attention;
mod cpu;
pub mod cross_entropy;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
pub mod dropout;
pub mod frozen;
mod graph;
mod kernels;
pub mod kronecker;
pub mod layer_norm;
pub mod linear;
pub mod lora;
pub mod memory;
mod metal;
pub mod miro;
pub mod panels;
pub mod pool;
pub mod reference;
pub mod residual;
pub mod rng;
mod routed;
pub mod router;
pub mod routing;
pub mod selfcheck;

pub use graph::Tape;
#[doc(hidden)]
pub use {cpu::simd::Once, kernels::emulate, pulp};

/// True if every operation runs on a device.
pub fn supports(device: &candle_core::Device) -> bool {
    device.is_cpu() || device.is_cuda() || device.is_metal()
}

/// Why operations on a device are made of candle's own although there are kernels for it: they
/// do not compile there.
pub fn without_kernels(device: &candle_core::Device) -> Option<String> {
    metal::refused(device)
}

thread_local! {
    static BY_TENSORS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `f` with the operations that other devices than the CPU use, on whatever device the
/// tensors are: how the tests reach those without a device.
#[doc(hidden)]
pub fn as_on_a_device<R>(f: impl FnOnce() -> R) -> R {
    let before = BY_TENSORS.replace(true);
    let result = f();
    BY_TENSORS.set(before);
    result
}

/// True if an operation on `x` is made of tensor functions: see `device`.
fn by_tensors(x: &candle_core::Tensor) -> bool {
    !x.device().is_cpu() || BY_TENSORS.get()
}
