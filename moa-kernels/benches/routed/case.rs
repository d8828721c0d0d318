//! One case that another program made: `bench/compare_routed.py` compares results and times.

use super::layer::{Layer, Work};
use candle_core::{DType, Device, Result, Tensor, Var, safetensors};
use moa_kernels::Tape;
use moa_kernels::lora::Expert;
use moa_kernels::router::Router;
use std::collections::HashMap;

/// Seconds of measuring.
const SECONDS: f64 = 2.0;

/// `FILE DEVICE DTYPE`: the tensors of `FILE` are a layer with a cosine router, its input and
/// the gradient of its output; results go to `FILE.out`, times to standard output.
pub fn run(file: &str, device: &str, dtype: &str) -> Result<()> {
    let (device, passes) = match device {
        "cuda" => (Device::new_cuda_with_stream(0)?, 20),
        _ => (Device::Cpu, 1),
    };
    moa_kernels::memory::prepare(&device)?;
    let dtype = if dtype == "bf16" { DType::BF16 } else { DType::F32 };
    let tensors = safetensors::load(file, &Device::Cpu)?;
    let get = |name: &str| match tensors.get(name) {
        Some(tensor) => tensor.to_device(&device),
        None => candle_core::bail!("{file}: no {name}"),
    };
    let var =
        |name: &str| -> Result<Tensor> { Ok(Var::from_tensor(&get(name)?)?.as_tensor().clone()) };
    let mut experts = Vec::new();
    while tensors.contains_key(&format!("down.{}", experts.len())) {
        let (down, up) = (format!("down.{}", experts.len()), format!("up.{}", experts.len()));
        experts.push(Expert { down: var(&down)?, up: var(&up)? });
    }
    let layer = Layer {
        x: Var::from_tensor(&get("x")?.to_dtype(dtype)?)?,
        weight: get("weight")?.to_dtype(dtype)?,
        bias: get("bias")?.to_dtype(dtype)?,
        router: Router::Cosine {
            weight: var("proj.weight")?,
            bias: Some(var("proj.bias")?),
            sim: var("sim")?,
            temperature: var("temperature")?,
        },
        experts,
        passes,
    };
    let out = results(&layer, &get("dy")?.to_dtype(dtype)?)?;
    safetensors::save(&out, format!("{file}.out"))?;
    let times = layer.compare(Work::Training, SECONDS);
    super::print(&format!(
        r#"{{"frozen_ms": {:.5}, "routed_ms": {:.5}}}"#,
        times.frozen, times.routed
    ));
    Ok(())
}

/// The output, and the gradients of its product with `dy`.
fn results(layer: &Layer, dy: &Tensor) -> Result<HashMap<String, Tensor>> {
    let tape = Tape::start()?;
    let y = layer.routed(&layer.x)?;
    let grads = tape.backward(&(&y * dy)?.sum_all()?)?;
    let mut named: Vec<(String, Tensor)> = vec![("x".into(), layer.x.as_tensor().clone())];
    if let Router::Cosine { weight, bias, sim, temperature } = layer.router.clone() {
        named.extend(bias.map(|bias| ("proj.bias".into(), bias)));
        let rest = [("proj.weight", weight), ("sim", sim), ("temperature", temperature)];
        named.extend(rest.map(|(name, tensor)| (name.into(), tensor)));
    }
    for (e, expert) in layer.experts.iter().enumerate() {
        named.extend([
            (format!("down.{e}"), expert.down.clone()),
            (format!("up.{e}"), expert.up.clone()),
        ]);
    }
    let on_cpu = |t: &Tensor| t.to_dtype(DType::F32)?.to_device(&Device::Cpu);
    let mut out = HashMap::from([("y".to_owned(), on_cpu(&y.detach())?)]);
    for (name, tensor) in named {
        match grads.get(&tensor) {
            Some(grad) => out.insert(name, on_cpu(grad)?),
            None => candle_core::bail!("{name} has no gradient"),
        };
    }
    Ok(out)
}
