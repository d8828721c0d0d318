//! What the CPU back ends share.

pub mod gemm;
pub mod lanes;
pub mod math;
pub mod reduce;
pub mod shares;
pub mod simd;
pub mod storage;
mod unset;

pub use gemm::{
    Into, Later, PANEL, Threads, View, apart, gemm, gemm_scattered, product, transposed_in_panels,
};
pub use lanes::{dot, lane_sum, pair_sum, total};
pub use math::Real;
pub use reduce::{BLOCK, add_up, column_sums, sum_blocks};
pub use shares::share_out;
pub(crate) use simd::vectorise;
pub(crate) use storage::by_float;
pub use storage::{Read, Scattered, data, element, tensor, with_data};
pub use unset::{copied, unset, zeros};
