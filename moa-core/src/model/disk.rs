//! Trained tensors on disk.
//!
//! A plain LoRA is stored under PEFT's names, so that Python PEFT loads the same
//! file; every other method under the names used in this crate.

use crate::adapter::AdapterKind;
use crate::error::{Error, Result};
use crate::method::Method;
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// True if PEFT can express the method: one LoRA, no router, no extra bias.
pub(super) fn is_peft(method: &Method) -> bool {
    let single = |a: &crate::adapter::AdapterConfig| {
        a.kind == AdapterKind::Lora && a.ranks.len() == 1 && !a.bias
    };
    method.router.is_none() && method.adapter.as_ref().is_some_and(single)
}

/// The name on disk of the tensor `name`.
pub fn on_disk(method: &Method, name: &str) -> String {
    if !is_peft(method) {
        return name.into();
    }
    let name = name.replace(".experts.0.down", ".lora_A.weight");
    format!("base_model.model.{}", name.replace(".experts.0.up", ".lora_B.weight"))
}

/// Writes tensors as `f32` safetensors; equal tensors give equal bytes. The file
/// is synced but not renamed: the caller owns the folder.
///
/// # Errors
/// If the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    write_as(path, tensors, Dtype::F32)
}

/// [`write_tensors`] in half precision (`f16`).
///
/// # Errors
/// If the file cannot be written.
pub fn write_half(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    write_as(path, tensors, Dtype::F16)
}

fn write_as(path: &Path, tensors: &BTreeMap<String, Tensor>, dtype: Dtype) -> Result<()> {
    let mut bytes = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let raw: Vec<u8> = match dtype {
            Dtype::F16 => {
                values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect()
            }
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        bytes.push((name, tensor.dims().to_vec(), raw));
    }
    let fail = |e: safetensors::SafeTensorError| Error::adapter(path, e.to_string());
    let mut views = BTreeMap::new();
    for (name, shape, raw) in &bytes {
        let view = TensorView::new(dtype, shape.clone(), raw).map_err(fail)?;
        views.insert(name.as_str(), view);
    }
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let file = safetensors::serialize(views, Some(metadata)).map_err(fail)?;
    crate::files::write_synced(path, file)
}

/// Reads all tensors of a safetensors file as `f32`.
///
/// # Errors
/// If the file is missing, damaged, holds integers, or a value that is not finite.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    tensors_from_bytes(&crate::files::read(path)?, path)
}

/// [`read_tensors`] of a file in memory; `path` is for messages.
///
/// # Errors
/// As [`read_tensors`].
pub fn tensors_from_bytes(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let damaged = |e: &dyn std::fmt::Display| {
        Error::adapter(path, format!("not a whole safetensors file ({e}); copy or train it again"))
    };
    let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(&e))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let dtype = match view.dtype() {
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            other => {
                let reason =
                    format!("tensor `{name}` has type {other:?}, not a floating-point type");
                return Err(Error::adapter(path, reason));
            }
        };
        let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
        let tensor = tensor.to_dtype(DType::F32)?;
        if tensor.flatten_all()?.to_vec1::<f32>()?.iter().any(|v| !v.is_finite()) {
            return Err(Error::NotFinite(name.into()));
        }
        tensors.insert(name.to_string(), tensor);
    }
    Ok(tensors)
}
