//! Reading reference data and comparing with it.

use candle_core::{DType, Device, Tensor};
use libtest_mimic::Failed;
use std::collections::HashMap;
use std::path::Path;

/// The tensors of a reference file.
pub struct Golden(HashMap<String, Tensor>);

impl Golden {
    pub fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |view: &safetensors::tensor::TensorView<'_>| {
            let dtype = DType::try_from(view.dtype()).unwrap();
            Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu).unwrap()
        };
        Self(file.iter().map(|(name, view)| (name.to_string(), tensor(&view))).collect())
    }

    /// A tensor, in the type it is stored in.
    pub fn get(&self, name: &str) -> &Tensor {
        self.0.get(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    pub fn values(&self, name: &str) -> Vec<f64> {
        values(self.get(name))
    }

    /// Names that begin with `prefix`, without it, sorted.
    pub fn below(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.0.keys().filter_map(|n| n.strip_prefix(prefix)).map(String::from).collect();
        names.sort();
        names
    }
}

pub fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

pub fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The largest absolute difference.
pub fn gap(got: &[f64], wanted: &[f64]) -> f64 {
    if got.len() != wanted.len() {
        return f64::INFINITY;
    }
    let gaps = got.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    gaps.fold(0.0, |m, v| if v.is_nan() { f64::INFINITY } else { m.max(v) })
}

/// Collects differences, so that one failure does not hide the others.
#[derive(Default)]
pub struct Checks(Vec<String>);

impl Checks {
    /// Fails if values differ by more than `tolerance`.
    pub fn close(&mut self, what: &str, got: &[f64], wanted: &[f64], tolerance: f64) {
        let found = gap(got, wanted);
        if found > tolerance {
            self.0.push(format!("{what}: off by {found:.1e}, allowed {tolerance:.0e}"));
        }
    }

    /// Fails if values differ by more than `tolerance` of the largest wanted one.
    pub fn relative(&mut self, what: &str, got: &[f64], wanted: &[f64], tolerance: f64) {
        let size = wanted.iter().fold(0f64, |m, v| m.max(v.abs()));
        self.close(what, got, wanted, tolerance * size.max(1e-3));
    }

    pub fn that(&mut self, what: &str, holds: bool) {
        if !holds {
            self.0.push(what.into());
        }
    }

    pub fn done(self) -> Result<(), Failed> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(self.0.join("\n").into()),
        }
    }
}
