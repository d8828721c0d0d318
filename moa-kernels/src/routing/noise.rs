use crate::rng::{Key, box_muller};
use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

/// Normal noise for router scores, `std` times a standard normal.
///
/// Element `i = token * experts + expert` of layer `layer` is number `i % 4` of
/// the four normals made from the words at index `layer << 48 | i / 4`: cosine
/// and sine branch of the first two words, then of the last two.
///
/// # Shapes
/// The result is `[tokens, experts]`.
///
/// # Errors
/// Only if the device fails.
pub fn router_noise(
    key: Key,
    layer: u16,
    (tokens, experts): (usize, usize),
    std: f64,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    if crate::kernels::serves(device) && dtype == DType::F32 {
        return crate::kernels::routing::noise(key, layer, (tokens, experts), std, device);
    }
    let mut values = vec![0f64; tokens * experts];
    values.par_chunks_mut(4).enumerate().with_min_len(256).for_each(|(block, out)| {
        let [a, b, c, d] = key.block((layer as u64) << 48 | block as u64);
        let ((n0, n1), (n2, n3)) = (box_muller([a, b]), box_muller([c, d]));
        for (out, normal) in out.iter_mut().zip([n0, n1, n2, n3]) {
            *out = normal * std;
        }
    });
    Tensor::from_vec(values, (tokens, experts), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
}
