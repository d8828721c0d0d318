//! One battery for every operation: values against the plain reference in both
//! precisions, gradients against central differences of the reference, nothing
//! computed for what is frozen, the same bits on any number of threads.
//!
//! It runs on the CPU, on the CPU with the operations of other devices, on the CPU with the
//! sources of CUDA's and of Metal's kernels if there is a compiler of C++, and on the device that
//! `MOA_TEST_DEVICE` names (`cuda`, `metal`), where one that does not answer is a failure. With
//! `MOA_TEST_WAY=sources` only the kernels' sources are run, with `sources-cuda` and
//! `sources-metal` those of one kind.
#![allow(dead_code, unsafe_code, clippy::unwrap_used)]

pub mod shim;

use candle_core::{DType, Device, Result, Tensor, Var};
use moa_kernels::Tape;
use moa_kernels::reference::{differences, worst};
use moa_kernels::rng::{Key, Purpose};
use std::cell::RefCell;

/// Seeded normal numbers.
pub fn normal(seed: u64, n: usize, scale: f64) -> Vec<f64> {
    let mut draws = Key::new(seed, Purpose::Init, 0).draws(0);
    (0..n).map(|_| (draws.normal() * scale) as f32 as f64).collect()
}

thread_local! {
    static DEVICE: RefCell<Device> = const { RefCell::new(Device::Cpu) };
}

/// Where tensors are made now.
pub fn device() -> Device {
    DEVICE.with_borrow(Device::clone)
}

/// True if kernels run, on a device or from their sources.
pub fn kernels_run() -> bool {
    !device().is_cpu() || moa_kernels::emulate::on()
}

/// True if the kernels of `cuda` or `metal` are run from their sources.
pub fn runs_sources(language: &str) -> bool {
    let only = std::env::var("MOA_TEST_WAY").unwrap_or_default();
    let other = only.strip_prefix("sources-").is_some_and(|only| only != language);
    shim::compiler().is_some() && !other
}

/// Calls `f` in every way that operations can be run, with its name.
pub fn every_way(f: impl Fn(&str)) {
    let only = std::env::var("MOA_TEST_WAY").unwrap_or_default();
    if only.is_empty() {
        f("cpu");
        moa_kernels::as_on_a_device(|| f("tensors"));
    }
    if runs_sources("cuda") {
        shim::on_the_shim(|_| f("sources"));
    }
    if runs_sources("metal") {
        shim::on_the_metal_shim(|_| f("metal sources"));
    }
    let name = std::env::var("MOA_TEST_DEVICE").unwrap_or_default();
    let name = if only.is_empty() { name } else { String::new() };
    let device = match name.as_str() {
        "" => return,
        "cuda" => Device::new_cuda_with_stream(0).unwrap(),
        "metal" => Device::new_metal(0).unwrap(),
        other => panic!("MOA_TEST_DEVICE={other}"),
    };
    DEVICE.set(device);
    f(&name);
    DEVICE.set(Device::Cpu);
}

pub fn tensor(values: &[f64], shape: &[usize], dtype: DType) -> Tensor {
    let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    tensor.to_device(&device()).unwrap()
}

pub fn values(t: &Tensor) -> Vec<f64> {
    let t = t.to_device(&Device::Cpu).unwrap();
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
    every_way(|way| check_here(&format!("{name} ({way})"), args, &op, &reference));
}

/// The type of numbers, and how far values and gradients may be off.
const PRECISE: [(DType, f64, f64); 2] = [(DType::F64, 1e-11, 2e-6), (DType::F32, 2e-4, 1e-3)];
/// The same on a device. Where experts are chosen, rounded scores may choose others.
const HALF: [(DType, f64, f64); 2] = [(DType::BF16, 4e-2, 6e-2), (DType::F16, 5e-3, 2e-2)];

fn check_here(
    name: &str,
    args: &[Arg],
    op: &(impl Fn(&[Tensor]) -> Result<Tensor> + Sync),
    reference: impl Fn(&[Vec<f64>]) -> Vec<f64>,
) {
    let half = kernels_run() && !name.starts_with("routed");
    let from_sources = moa_kernels::emulate::on();
    for (dtype, value_tol, grad_tol) in PRECISE.into_iter().chain(HALF.into_iter().filter(|_| half))
    {
        if (from_sources || device().is_metal()) && dtype == DType::F64 {
            continue; // no kernel takes it
        }
        let vars: Vec<Var> =
            args.iter().map(|a| Var::from_tensor(&tensor(&a.0, &a.1, dtype)).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        // As they are after rounding.
        let plain: Vec<Vec<f64>> = match dtype {
            DType::BF16 | DType::F16 => tensors.iter().map(values).collect(),
            _ => args.iter().map(|a| a.0.clone()).collect(),
        };
        let wanted = reference(&plain);
        let weights = normal(99, wanted.len(), 1.0);
        let y = op(&tensors).unwrap();
        let gap = worst(&values(&y), &wanted);
        assert!(gap < value_tol, "{name}: values in {dtype:?} are off by {gap:e}");

        let c = tensor(&weights, y.dims(), y.dtype());
        let grads = (&y * &c).unwrap().sum_all().unwrap().backward().unwrap();
        let weights = values(&c);
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

        // The same from a tape. Gradients that several operations add to may be rounded another
        // way than candle's, which adds them in another order.
        let tape = Tape::start().unwrap();
        let z = op(&tensors).unwrap();
        assert_eq!(values(&z), values(&y), "{name}: values with a tape");
        let recorded = tape.backward(&(&z * &c).unwrap().sum_all().unwrap()).unwrap();
        for (i, var) in vars.iter().enumerate() {
            let (a, b) = (values(recorded.get(var).unwrap()), values(grads.get(var).unwrap()));
            let gap = worst(&a, &b);
            assert!(gap < 0.1 * grad_tol, "{name}: gradient {i} from a tape is off by {gap:e}");
        }

        let same = |how: &str| {
            let z = op(&tensors).unwrap();
            assert_eq!(values(&z), values(&y), "{name}: values {how}");
            let again = (&z * &c).unwrap().sum_all().unwrap().backward().unwrap();
            for var in &vars {
                let (a, b) = (grads.get(var).unwrap(), again.get(var).unwrap());
                assert_eq!(values(a), values(b), "{name}: gradients {how}");
            }
        };
        if name.ends_with("(cpu)") {
            // Any number of threads, same bits.
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| same(&format!("on {threads} threads")));
            }
        } else {
            // Any number of times, too.
            (0..if device().is_cpu() { 1 } else { 20 }).for_each(|_| same("once more"));
        }
    }
}
