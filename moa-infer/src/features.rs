//! Features of images, written as safetensors or npy with an index of paths.

use crate::evaluate::{batches, rows};
use crate::exit::usage;
use crate::predictor::Predictor;
use anyhow::Result;
use moa_core::files::write_whole;
use std::path::{Path, PathBuf};

/// Pooled features of many images.
pub struct Features {
    /// Images that were read, in order.
    pub paths: Vec<PathBuf>,
    /// `[paths.len(), dim]`, row-major.
    pub values: Vec<f32>,
    /// Width of a row.
    pub dim: usize,
    /// What could not be read, and why: a line each.
    pub failed: Vec<String>,
}

/// Computes features, `batch` images at a time.
///
/// # Errors
/// Only if the device fails; images that cannot be read are listed.
pub fn extract(
    predictor: &Predictor,
    images: Vec<PathBuf>,
    batch: usize,
    workers: usize,
) -> Result<Features> {
    let dim = predictor.classifier.vit.config.dim;
    let mut features = Features { paths: Vec::new(), values: Vec::new(), dim, failed: Vec::new() };
    for images in batches(predictor, images, batch, workers) {
        for (path, row) in rows(images, |images| predictor.features(images))? {
            match row {
                Ok(row) => {
                    features.values.extend(row);
                    features.paths.push(path);
                }
                Err(error) => features.failed.push(error.to_string()),
            }
        }
    }
    Ok(features)
}

impl Features {
    /// Writes `out` (tensor `features` of a `.safetensors` file, or a `.npy` array)
    /// and, beside it, `out` with the ending `.json`: the paths of the rows.
    ///
    /// # Errors
    /// If the ending is another one, or a file cannot be written.
    pub fn write(&self, out: &Path) -> Result<()> {
        check_output(out)?;
        let index_path = out.with_extension("json");
        let raw: Vec<u8> = self.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let shape = vec![self.paths.len(), self.dim];
        let bytes = match out.extension().and_then(|e| e.to_str()) {
            Some("safetensors") => {
                let view =
                    safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &raw)?;
                safetensors::serialize([("features", view)], None)?
            }
            _ => npy(&shape, &raw),
        };
        write_whole(out, &bytes)?;
        let paths: Vec<_> = self.paths.iter().map(|p| p.to_string_lossy()).collect();
        let index = serde_json::json!({"paths": paths, "shape": [self.paths.len(), self.dim]});
        Ok(write_whole(&index_path, format!("{index}\n"))?)
    }
}

/// Checks what can be known before any feature is computed.
///
/// # Errors
/// If the ending is neither `.safetensors` nor `.npy`, the folder is not there, or
/// the index would replace a file that is no index.
pub fn check_output(out: &Path) -> Result<()> {
    let shown = out.display();
    let ending = out.extension().and_then(|e| e.to_str());
    if !matches!(ending, Some("safetensors" | "npy")) {
        return Err(usage(format!("{shown}: the ending must be .safetensors or .npy")));
    }
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    anyhow::ensure!(parent.is_dir(), "{shown}: there is no folder {}", parent.display());
    let index = out.with_extension("json");
    anyhow::ensure!(
        replaceable(&index),
        "{} is something else than an index of features; choose another --out",
        index.display()
    );
    Ok(())
}

/// True if there is no file, or an index that an earlier call wrote.
fn replaceable(index: &Path) -> bool {
    let Ok(bytes) = std::fs::read(index) else { return !index.exists() };
    let value: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    value.is_some_and(|v| v.get("paths").is_some() && v.get("shape").is_some())
}

/// A little-endian `f32` array in numpy's format, version 1.0.
fn npy(shape: &[usize], raw: &[u8]) -> Vec<u8> {
    let shape: Vec<String> = shape.iter().map(|n| format!("{n},")).collect();
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", shape.join(" "));
    // Magic, version and length take 10 bytes; data starts at a multiple of 64.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", length.as_slice(), header.as_bytes(), raw].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npy_header_is_aligned() {
        let bytes = npy(&[2, 3], &[0; 24]);
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        assert_eq!((bytes.len() - 24) % 64, 0);
        let header = String::from_utf8_lossy(&bytes[10..bytes.len() - 24]);
        assert!(header.contains("'shape': (2, 3,)"), "{header}");
    }
}
