//! Operations one after the other on a tape, which keeps less than candle's graph.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Result, Tensor, Var};
use moa_kernels::Tape;
use moa_kernels::layer_norm::layer_norm;
use moa_kernels::linear::linear;
use moa_kernels::residual::residual;
use moa_kernels::rng::{Key, Purpose};

fn var(index: u64, shape: &[usize]) -> Var {
    let mut draws = Key::new(3, Purpose::Init, 0).draws(index);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| draws.normal()).collect();
    let values = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    Var::from_tensor(&values.to_dtype(DType::F32).unwrap()).unwrap()
}

/// Two layers read one norm, whose result the tape does not keep; the second also through a
/// view, which candle keeps.
fn loss(v: &[Var]) -> Result<Tensor> {
    let x = (v[0].as_tensor() * 1.0)?; // of candle's graph
    let n = layer_norm(&x, &v[1], &v[2], 1e-5)?;
    let (a, b) = (linear(&n, &v[3], None)?, linear(&n, &v[4], Some(&v[2]))?);
    let y = residual(&residual(&x, &a, None)?, &b, Some(&v[1]))?;
    let z = linear(&n.narrow(0, 1, 2)?, &v[3], None)?;
    let n = layer_norm(&y, &v[1], &v[2], 1e-5)?;
    linear(&n, &v[4], None)?.sqr()?.sum_all()? + z.sum_all()?
}

#[test]
fn gradients_are_those_of_candles_graph() {
    let shapes: [&[usize]; 5] = [&[5, 8], &[8], &[8], &[8, 8], &[8, 8]];
    let vars: Vec<Var> = (0..).zip(shapes).map(|(i, shape)| var(i, shape)).collect();
    let wanted = loss(&vars).unwrap().backward().unwrap();
    let tape = Tape::start().unwrap();
    let grads = tape.backward(&loss(&vars).unwrap()).unwrap();
    for (i, var) in vars.iter().enumerate() {
        let [got, wanted] = [&grads, &wanted].map(|g| g.get(var).unwrap());
        let far = (got - wanted).unwrap().abs().unwrap().max_all().unwrap();
        let size = wanted.abs().unwrap().max_all().unwrap();
        let [far, size] = [far, size].map(|t| t.to_scalar::<f32>().unwrap());
        assert!(far <= 1e-5 * size && size > 0.0, "argument {i}: {far} of {size}");
    }
}
