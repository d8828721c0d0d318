//! Tensors as plain numbers, and their bytes on disk.

use half::{bf16, f16};
use safetensors::tensor::Dtype;

/// A tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct RawTensor {
    /// Sides.
    pub shape: Vec<usize>,
    /// As many values as the product of the sides.
    pub data: Vec<f32>,
}

/// A tensor as it lies in a safetensors file.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskTensor {
    /// Type of its values.
    pub dtype: Dtype,
    /// Sides.
    pub shape: Vec<usize>,
    /// Little-endian values in row-major order.
    pub bytes: Vec<u8>,
}

/// Values of a floating-point type as `f32`; `None` for any other type.
pub(super) fn decode(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        _ => return None,
    })
}

fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<N>();
    values.iter().map(|&value| read(value)).collect()
}

/// Values in the type `dtype` if it holds every one of them exactly, else in `F32`.
pub(super) fn encode(values: &[f32], dtype: Dtype) -> (Dtype, Vec<u8>) {
    let narrow: Option<Vec<u8>> = match dtype {
        Dtype::F16 => {
            exactly(values, |v| (f16::from_f32(v).to_f32(), f16::from_f32(v).to_le_bytes()))
        }
        Dtype::BF16 => {
            exactly(values, |v| (bf16::from_f32(v).to_f32(), bf16::from_f32(v).to_le_bytes()))
        }
        Dtype::F64 => exactly(values, |v| (v, f64::from(v).to_le_bytes())),
        _ => None,
    };
    match narrow {
        Some(bytes) => (dtype, bytes),
        None => (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
    }
}

fn exactly<const N: usize>(
    values: &[f32],
    write: impl Fn(f32) -> (f32, [u8; N]),
) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(values.len() * N);
    for &value in values {
        let (back, raw) = write(value);
        if back.to_bits() != value.to_bits() {
            return None;
        }
        bytes.extend(raw);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_kept_while_they_hold_the_values() {
        let values = [0.0, -0.0, 1.5, -3.25];
        for (dtype, size) in [(Dtype::F16, 2), (Dtype::BF16, 2), (Dtype::F32, 4), (Dtype::F64, 8)] {
            let (kept, bytes) = encode(&values, dtype);
            assert_eq!((kept, bytes.len()), (dtype, 4 * size));
            let back = decode(kept, &bytes).unwrap();
            assert!(back.iter().zip(values).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
        assert_eq!(encode(&[0.1], Dtype::F16).0, Dtype::F32);
        assert_eq!(encode(&[1e-30], Dtype::BF16).0, Dtype::F32);
        assert_eq!(decode(Dtype::I64, &[0; 8]), None);
    }

    #[test]
    fn a_double_too_large_becomes_infinite() {
        assert_eq!(decode(Dtype::F64, &1e300f64.to_le_bytes()), Some(vec![f32::INFINITY]));
    }
}
