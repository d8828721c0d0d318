//! One operation, its arguments and its reference.

use super::{Gap, Row};
use crate::reference::worst;
use crate::rng::{Key, Purpose};
use candle_core::{DType, Device, Result, Tensor, Var};

/// Directions in which the gradient of each argument is checked.
const DIRECTIONS: u64 = 4;
/// Half the distance of the two points of a central difference.
const STEP: f64 = 1e-5;

/// Maps tensors to a tensor.
pub type Op = Box<dyn Fn(&[Tensor]) -> Result<Tensor>>;
/// The same on plain numbers.
pub type Reference = Box<dyn Fn(&[Vec<f64>]) -> Vec<f64>>;

/// An argument: numbers and their shape.
pub struct Arg {
    pub values: Vec<f64>,
    pub shape: Vec<usize>,
    /// It trains: beside tokens of half precision it is `f32`.
    pub trains: bool,
}

pub struct Case {
    pub name: String,
    pub args: Vec<Arg>,
    pub op: Op,
    pub reference: Reference,
}

/// Seeded normal numbers.
pub fn normal(seed: u64, n: usize, scale: f64) -> Vec<f64> {
    let mut draws = Key::new(seed, Purpose::Init, 0).draws(0);
    (0..n).map(|_| draws.normal() * scale).collect()
}

/// Tokens, or what is computed from them.
pub fn tokens(seed: u64, shape: &[usize], scale: f64) -> Arg {
    let values = normal(seed, shape.iter().product(), scale);
    Arg { values, shape: shape.to_vec(), trains: false }
}

/// A tensor that trains.
pub fn trained(seed: u64, shape: &[usize], scale: f64) -> Arg {
    Arg { trains: true, ..tokens(seed, shape, scale) }
}

pub fn tensor(values: &[f64], shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
    Tensor::from_slice(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
}

pub fn values(t: &Tensor) -> Result<Vec<f64>> {
    t.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// How far results and gradients in a type may be off.
pub fn bounds(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::F64 => (1e-11, 1e-7),
        DType::BF16 => (4e-2, 6e-2),
        DType::F16 => (5e-3, 2e-2),
        _ => (2e-4, 1e-3),
    }
}

/// Runs the operation and compares.
pub fn measure(case: &Case, device: &Device, dtype: DType, runs: usize) -> Row {
    let (value, gradient) = bounds(dtype);
    let row = |found: [f64; 2], wrong: Option<String>| Row {
        name: case.name.clone(),
        dtype,
        value: Gap { found: found[0], bound: value },
        gradient: Some(Gap { found: found[1], bound: gradient }),
        wrong,
    };
    match compare(case, device, dtype, runs) {
        Ok((found, same)) => row(found, (!same).then(|| "two runs differ".into())),
        Err(e) => {
            let text = e.to_string();
            row([f64::NAN; 2], Some(text.lines().next().unwrap_or_default().into()))
        }
    }
}

/// Errors of result and gradients, and whether all runs had the same bits.
fn compare(case: &Case, device: &Device, dtype: DType, runs: usize) -> Result<([f64; 2], bool)> {
    let half = matches!(dtype, DType::BF16 | DType::F16);
    let make = |arg: &Arg| {
        let dtype = if half && arg.trains { DType::F32 } else { dtype };
        Var::from_tensor(&tensor(&arg.values, &arg.shape, dtype, device)?)
    };
    let vars = case.args.iter().map(make).collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    // As they are after rounding.
    let plain = tensors.iter().map(values).collect::<Result<Vec<_>>>()?;
    let wanted = (case.reference)(&plain);
    let first = run(case, &vars, &tensors, device)?;
    let value = worst(&first[0], &wanted);
    let mut gradient = 0f64;
    for (i, found) in first[1..].iter().enumerate() {
        let gap = directions(case, &plain, i, found, &weights(wanted.len()));
        gradient = if gap.is_nan() { f64::INFINITY } else { gradient.max(gap) };
    }
    let mut same = true;
    for _ in 1..runs {
        let again = run(case, &vars, &tensors, device)?;
        let bits = |all: &[Vec<f64>]| all.concat().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        same &= bits(&again) == bits(&first);
    }
    Ok(([value, gradient], same))
}

/// What the result's entries are multiplied by before they are summed up.
fn weights(n: usize) -> Vec<f64> {
    // Numbers that every type has.
    normal(99, n, 1.0).iter().map(|v| (v * 16.0).round() / 16.0).collect()
}

/// The result, then the gradient of each argument.
fn run(case: &Case, vars: &[Var], tensors: &[Tensor], device: &Device) -> Result<Vec<Vec<f64>>> {
    let y = (case.op)(tensors)?;
    let c = tensor(&weights(y.elem_count()), y.dims(), y.dtype(), device)?;
    let grads = (&y * c)?.sum_all()?.backward()?;
    let mut all = vec![values(&y)?];
    for var in vars {
        let missing = || candle_core::Error::msg("a gradient is missing");
        all.push(values(grads.get(var).ok_or_else(missing)?)?);
    }
    Ok(all)
}

/// The largest error of the gradient of argument `i` along random directions.
fn directions(case: &Case, plain: &[Vec<f64>], i: usize, found: &[f64], c: &[f64]) -> f64 {
    let loss =
        |at: &[Vec<f64>]| -> f64 { (case.reference)(at).iter().zip(c).map(|(y, c)| y * c).sum() };
    let length = found.iter().map(|g| g * g).sum::<f64>().sqrt().max(1e-3);
    let one = |seed: u64| {
        let along = normal(1000 + seed, found.len(), 1.0);
        let moved = |step: f64| {
            let mut at = plain.to_vec();
            at[i].iter_mut().zip(&along).for_each(|(x, d)| *x += step * d);
            loss(&at)
        };
        let wanted = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        let got: f64 = found.iter().zip(&along).map(|(g, d)| g * d).sum();
        let gap = (got - wanted).abs() / length;
        if gap.is_nan() { f64::INFINITY } else { gap }
    };
    (0..DIRECTIONS).map(one).fold(0.0, f64::max)
}
