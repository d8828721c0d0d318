//! What training does besides gradients: noise, ties, Adam.

use super::case::{normal, tensor, values};
use super::{Gap, Row};
use crate::adam::{Item, Update};
use crate::reference::worst;
use crate::rng::{Key, Purpose};
use crate::routing::{Gating, Routing, router_noise};
use candle_core::{DType, Device, Result, Var};

/// Gives an error.
type Check = fn(&Device) -> Result<f64>;

pub fn rows(device: &Device) -> Vec<Row> {
    let checks: [(&str, Check); 3] =
        [("ties and NaN", ties), ("noise of the router", noise), ("adam, three steps", adam)];
    let row = |(name, check): (&str, Check)| {
        let (found, wrong) = match check(device) {
            Ok(found) => (found, None),
            Err(e) => (f64::NAN, Some(e.to_string().lines().next().unwrap_or_default().into())),
        };
        let value = Gap { found, bound: 1e-5 };
        Row { name: name.into(), dtype: DType::F32, value, gradient: None, wrong }
    };
    checks.into_iter().map(row).collect()
}

/// The first of equals wins, and what is no number chooses in order.
fn ties(device: &Device) -> Result<f64> {
    let scores = [[1.0; 3], [f64::NAN; 3], [0.0, 2.0, 2.0]].concat();
    let scores = tensor(&scores, &[3, 3], DType::F32, device)?;
    let routing = Routing::new(&scores, None, Gating { top_k: 2, renormalise: false })?;
    Ok(worst(&values(&routing.indices)?, &[0.0, 1.0, 0.0, 1.0, 1.0, 2.0]))
}

/// As the processor draws it in double precision.
fn noise(device: &Device) -> Result<f64> {
    let key = Key::new(7, Purpose::RouterNoise, 3);
    let draw = |dtype, device: &Device| router_noise(key, 5, (101, 7), 0.25, dtype, device);
    Ok(worst(&values(&draw(DType::F32, device)?)?, &values(&draw(DType::F64, &Device::Cpu)?)?))
}

fn adam(device: &Device) -> Result<f64> {
    let (n, mut gap) = (1003, 0f64);
    let u = Update {
        lr: 0.03,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        decoupled: true,
        done: 0,
    };
    let (mut x, mut m, mut v) = (normal(60, n, 1.0), vec![0.0; n], vec![0.0; n]);
    let make = |t: &[f64]| tensor(t, &[n], DType::F32, device);
    let (value, mut first, mut second) = (Var::from_tensor(&make(&x)?)?, make(&m)?, make(&v)?);
    for done in 0..3 {
        let (g, step) = (normal(61 + done, n, 0.5), done as i32 + 1);
        for i in 0..n {
            x[i] -= u.lr * u.weight_decay * x[i];
            m[i] = u.beta1 * m[i] + (1.0 - u.beta1) * g[i];
            v[i] = u.beta2 * v[i] + (1.0 - u.beta2) * g[i] * g[i];
            let (mean, square) =
                (m[i] / (1.0 - u.beta1.powi(step)), v[i] / (1.0 - u.beta2.powi(step)));
            x[i] -= u.lr * mean / (square.sqrt() + u.eps);
        }
        let gradient = &make(&g)?;
        let item = Item { value: &value, gradient, m: &mut first, v: &mut second };
        Update { done, ..u }.apply(&mut [item])?;
        gap = gap.max(worst(&values(value.as_tensor())?, &x));
    }
    Ok(gap)
}
