//! All operations on a device against the plain `f64` loops of [`crate::reference`].
//!
//! Each operation runs on small tensors of odd sizes, in every type that the device has
//! kernels for. Its result is compared with the reference, entry by entry, its gradients with
//! central differences of the reference along random directions; repeated runs must give the
//! same bits. Where experts are chosen, the choice is forced first, by scores that lie far
//! apart, and then free.

mod case;
mod dense;
mod experts;
mod free;
mod training;

use candle_core::{DType, Device};
use case::{Case, measure};

/// How far one operation in one type was from the reference.
#[derive(Debug)]
pub struct Row {
    /// The operation.
    pub name: String,
    /// The type of tokens and frozen weights.
    pub dtype: DType,
    /// Largest error of the result relative to its largest entry, and how much may be.
    pub value: Gap,
    /// Largest error of a gradient's part in a direction relative to the gradient's length.
    pub gradient: Option<Gap>,
    /// Something else that is wrong, in words.
    pub wrong: Option<String>,
}

/// An error and its bound.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// What was found.
    pub found: f64,
    /// The most that is right.
    pub bound: f64,
}

impl Gap {
    fn fits(self) -> bool {
        self.found <= self.bound // not if it is not a number
    }
}

impl Row {
    /// True if nothing is wrong.
    pub fn passed(&self) -> bool {
        self.wrong.is_none() && self.value.fits() && self.gradient.is_none_or(Gap::fits)
    }
}

/// The types that operations take on a device.
pub fn dtypes(device: &Device) -> &'static [DType] {
    match device {
        Device::Cpu => &[DType::F64, DType::F32],
        Device::Cuda(_) => &[DType::F32, DType::BF16, DType::F16],
        Device::Metal(_) => &[DType::F32, DType::F16],
    }
}

/// Checks all operations on a device in the given types, each `runs` times. What fails is told
/// in its row.
pub fn run(device: &Device, dtypes: &[DType], runs: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let cases: Vec<Case> = dense::cases().into_iter().chain(experts::cases()).collect();
    for case in &cases {
        rows.extend(dtypes.iter().map(|&dtype| measure(case, device, dtype, runs)));
    }
    rows.extend(dtypes.iter().map(|&dtype| free::choices(device, dtype)));
    rows.extend(training::rows(device));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(found: f64, gradient: f64, wrong: Option<&str>) -> Row {
        let gap = |found| Gap { found, bound: 1e-3 };
        Row {
            name: "op".into(),
            dtype: DType::F32,
            value: gap(found),
            gradient: Some(gap(gradient)),
            wrong: wrong.map(String::from),
        }
    }

    #[test]
    fn what_is_too_far_off_or_no_number_fails() {
        assert!(row(1e-4, 1e-3, None).passed());
        assert!(!row(2e-3, 0.0, None).passed());
        assert!(!row(0.0, f64::NAN, None).passed());
        assert!(!row(f64::INFINITY, 0.0, None).passed());
        assert!(!row(0.0, 0.0, Some("two runs differ")).passed());
    }
}
