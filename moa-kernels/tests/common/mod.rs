//! One battery for every operation: values against the plain reference in both
//! precisions, gradients against central differences of the reference, nothing
//! computed for what is frozen, the same bits on any number of threads.
#![allow(dead_code, clippy::unwrap_used)]

use candle_core::{DType, Device, Result, Tensor, Var};
use moa_kernels::reference::{differences, worst};
use moa_kernels::rng::{Key, Purpose};

/// Seeded normal numbers.
pub fn normal(seed: u64, n: usize, scale: f64) -> Vec<f64> {
    let mut draws = Key::new(seed, Purpose::Init, 0).draws(0);
    (0..n).map(|_| (draws.normal() * scale) as f32 as f64).collect()
}

pub fn tensor(values: &[f64], shape: &[usize], dtype: DType) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

pub fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// An argument of an operation: values and shape.
pub struct Arg(pub Vec<f64>, pub Vec<usize>);

pub fn arg(seed: u64, shape: &[usize], scale: f64) -> Arg {
    Arg(normal(seed, shape.iter().product(), scale), shape.to_vec())
}

/// Runs the battery. `op` maps tensors to a tensor, `reference` does the same on
/// plain numbers.
pub fn check(
    name: &str,
    args: &[Arg],
    op: impl Fn(&[Tensor]) -> Result<Tensor> + Sync,
    reference: impl Fn(&[Vec<f64>]) -> Vec<f64>,
) {
    let plain: Vec<Vec<f64>> = args.iter().map(|a| a.0.clone()).collect();
    let wanted = reference(&plain);
    let weights = normal(99, wanted.len(), 1.0);
    for (dtype, value_tol, grad_tol) in [(DType::F64, 1e-11, 2e-6), (DType::F32, 2e-4, 1e-3)] {
        let vars: Vec<Var> =
            args.iter().map(|a| Var::from_tensor(&tensor(&a.0, &a.1, dtype)).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let y = op(&tensors).unwrap();
        assert!(worst(&values(&y), &wanted) < value_tol, "{name}: values in {dtype:?}");

        let c = tensor(&weights, y.dims(), dtype);
        let grads = (&y * &c).unwrap().sum_all().unwrap().backward().unwrap();
        for (i, var) in vars.iter().enumerate() {
            let got = values(grads.get(var).unwrap_or_else(|| panic!("{name}: no gradient {i}")));
            let wanted = differences(&plain[i], 1e-5, |at| {
                let mut moved = plain.clone();
                moved[i] = at.to_vec();
                reference(&moved).iter().zip(&weights).map(|(a, b)| a * b).sum()
            });
            let gap = worst(&got, &wanted);
            assert!(gap < grad_tol, "{name}: gradient {i} in {dtype:?} is off by {gap:e}");
        }

        // A frozen argument gets no gradient, and the others keep theirs, bit for bit.
        for frozen in 0..vars.len() {
            let mut some = tensors.clone();
            some[frozen] = some[frozen].detach();
            let loss = (op(&some).unwrap() * &c).unwrap().sum_all().unwrap();
            if vars.len() == 1 {
                assert!(!loss.track_op(), "{name}: tracked without a reason");
                continue;
            }
            let again = loss.backward().unwrap();
            // Tensors of an expert travel through candle's `cat`, which cannot skip them.
            let skipped = again.get(&some[frozen]).is_none() || name.starts_with("routed");
            assert!(skipped, "{name}: gradient of frozen {frozen}");
            for (i, var) in vars.iter().enumerate().filter(|(i, _)| *i != frozen) {
                let (a, b) = (grads.get(var).unwrap(), again.get(var).unwrap());
                assert_eq!(values(a), values(b), "{name}: gradient {i} without {frozen}");
            }
        }

        // Any number of threads, same bits.
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let z = op(&tensors).unwrap();
                assert_eq!(values(&z), values(&y), "{name}: values on {threads} threads");
                let again = (&z * &c).unwrap().sum_all().unwrap().backward().unwrap();
                for var in &vars {
                    let (a, b) = (grads.get(var).unwrap(), again.get(var).unwrap());
                    assert_eq!(values(a), values(b), "{name}: gradients on {threads} threads");
                }
            });
        }
    }
}
