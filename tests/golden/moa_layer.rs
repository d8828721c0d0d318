//! One adapted linear layer: output, routing, balance loss and all gradients, in
//! both precisions (tensors made by `goldenlib/moa_layer.py`, PyTorch in f64).

use crate::common::{Checks, Golden, json, values};
use candle_core::{DType, Device, Tensor, Var};
use libtest_mimic::{Failed, Trial};
use moa_core::adapter::{
    Adapter, AdapterConfig, AdapterKind, AuxThreshold, Linear, RouterConfig, RouterKind,
};
use moa_core::param::Store;
use moa_core::pass::{LayerId, Pass, Random};
use moa_kernels::kronecker::DropConnect;
use moa_kernels::rng::{Key, Purpose};
use moa_kernels::router::Noise;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

pub fn trials(root: &Path) -> Vec<Trial> {
    let dir = root.join("moa_layer");
    let index = json(&dir.join("index.json"));
    let cases = index["cases"].as_object().unwrap();
    let trial = |(name, case): (&String, &Value)| {
        let (path, case) = (dir.join(format!("{name}.safetensors")), case.clone());
        Trial::test(format!("moa_layer::{name}"), move || run(&path, &case))
    };
    cases.iter().map(trial).collect()
}

/// The noise and the mask of the file.
struct Given {
    noise: Option<Tensor>,
    keep: Option<Arc<Vec<u8>>>,
}

impl Random for Given {
    fn noise(&self, _: &LayerId, std: f64) -> moa_core::Result<Noise> {
        let Some(noise) = &self.noise else { return Ok(Noise::Off) };
        Ok(Noise::Given((noise.to_dtype(DType::F64)? * std)?))
    }

    fn drop_connect(&self, _: &LayerId, p: f64) -> DropConnect {
        match &self.keep {
            Some(keep) => DropConnect::Given { keep: keep.clone(), p },
            None => DropConnect::Off,
        }
    }

    fn rank_dropout(&self, _: &LayerId, _: u8, count: usize, _: f64) -> Vec<f64> {
        vec![1.0; count]
    }

    fn head(&self) -> Key {
        Key::new(0, Purpose::HeadDropout, 0)
    }
}

pub fn adapter_config(spec: &Value) -> AdapterConfig {
    let ranks = spec["ranks"].as_array().unwrap();
    AdapterConfig {
        kind: match spec["kind"].as_str().unwrap() {
            "lora" => AdapterKind::Lora,
            _ => AdapterKind::Kronecker,
        },
        ranks: ranks.iter().map(|r| r.as_u64().unwrap() as usize).collect(),
        scale: spec["scale"].as_f64().unwrap(),
        bias: spec["adapter_bias"].as_bool().unwrap(),
        t: spec["phm_dim"].as_u64().unwrap() as usize,
        dropout: spec["dropout"].as_f64().unwrap_or(0.0),
        rank_dropout: 0.0,
        activation: Default::default(),
    }
}

pub fn router_config(spec: &Value) -> Option<RouterConfig> {
    Some(RouterConfig {
        kind: match spec["router"].as_str().unwrap() {
            "none" => return None,
            "cosine" => RouterKind::Cosine,
            _ => RouterKind::Linear,
        },
        dim: spec["router_dim"].as_u64().unwrap() as usize,
        bias: spec["router_bias"].as_bool().unwrap_or(true),
        top_k: spec["top_k"].as_u64().unwrap() as usize,
        renormalise: spec["renormalise"].as_bool().unwrap(),
        noise: spec["gate_noise"].as_f64().unwrap(),
        aux_weight: spec["aux_weight"].as_f64().unwrap(),
        aux_threshold: match spec["aux_threshold"].as_str() {
            Some("max") => AuxThreshold::Max,
            _ => AuxThreshold::Kth,
        },
        temperature: 0.0,
    })
}

fn run(path: &Path, case: &Value) -> Result<(), Failed> {
    let golden = Golden::open(path);
    let mut checks = Checks::default();
    for (dtype, value_tol, grad_tol) in [(DType::F64, 1e-9, 1e-9), (DType::F32, 2e-4, 1e-3)] {
        one(&golden, case, dtype, value_tol, grad_tol, &mut checks)?;
    }
    checks.done()
}

fn one(
    golden: &Golden,
    case: &Value,
    dtype: DType,
    value_tol: f64,
    grad_tol: f64,
    checks: &mut Checks,
) -> Result<(), Failed> {
    let spec = &case["spec"];
    let (adapter, router) = (adapter_config(spec), router_config(spec));
    let x = golden.get("x").to_dtype(dtype)?;
    let sizes = (x.dim(1)?, golden.get("param.weight").dim(0)?);
    let id = LayerId { name: "layer".into(), number: 0 };
    let ours = |name: &str| match name.starts_with("shared.") {
        true => name.to_string(),
        false => format!("layer.{name}"),
    };
    let names = golden.below("param.");
    let tensors: BTreeMap<String, Tensor> =
        names.iter().map(|n| (ours(n), golden.get(&format!("param.{n}")).clone())).collect();
    let frozen = ["layer.weight", "layer.bias"];
    let trainable: BTreeSet<String> =
        tensors.keys().filter(|n| !frozen.contains(&n.as_str())).cloned().collect();
    let mut store = Store::new(tensors, trainable, dtype, &Device::Cpu);
    let part = Adapter::new(&mut store, "layer", sizes, &adapter, router.as_ref())?;
    let layer = Linear::new(&mut store, id, sizes, true, Some(part))?;
    let vars = store.finish()?;

    let x_var = Var::from_tensor(&x)?;
    let mut input = x_var.as_tensor().clone();
    if let Some(lead) = case["lead_shape"].as_array() {
        let mut shape: Vec<usize> = lead.iter().map(|n| n.as_u64().unwrap() as usize).collect();
        shape.push(sizes.0);
        input = input.reshape(shape)?;
    }
    let keep = golden.find("keep_mask");
    let keep = keep.map(|k| Arc::new(k.flatten_all().unwrap().to_vec1::<u8>().unwrap()));
    let given = Given { noise: golden.find("noise").cloned(), keep };
    let pass = Pass::train(&given).watching();
    let y = layer.forward(&input, &pass)?;
    let y = y.reshape(golden.get("out.y").shape())?;
    let label = |what: &str| format!("{what} in {dtype:?}");
    let stored_f32 = golden.get("out.y").dtype() == DType::F32;
    let tol = if stored_f32 { value_tol.max(1e-5) } else { value_tol };
    checks.close(&label("y"), &values(&y), &golden.values("out.y"), tol);

    let c = golden.get("c").to_dtype(dtype)?;
    let mut loss = (&y * &c)?.sum_all()?;
    let plain = case["loss_without_aux"].as_f64().unwrap();
    checks.relative(&label("loss without balance"), &values(&loss), &[plain], grad_tol);
    if let Some((_, routing)) = pass.routings().first() {
        checks.close(
            &label("logits"),
            &values(&routing.scores),
            &golden.values("out.logits"),
            value_tol,
        );
        checks.close(
            &label("probs"),
            &values(&routing.probs),
            &golden.values("out.probs"),
            value_tol,
        );
        checks.close(
            &label("gate"),
            &values(&routing.gates),
            &golden.values("out.gate"),
            value_tol,
        );
        let same = values(&routing.indices) == golden.values("out.indices");
        checks.that(&label("indices differ"), same);
        let counts: Vec<f64> = routing.tokens_per_expert()?.iter().map(|&n| n as f64).collect();
        checks.that(&label("counts differ"), counts == golden.values("out.tokens_per_expert"));
    }
    let balance = pass.balance()?;
    if let Some(balance) = balance {
        let aux = case["aux"].as_f64().unwrap();
        checks.relative(&label("aux"), &values(&balance), &[aux], grad_tol);
        loss = (loss + balance)?;
    }
    let grads = loss.backward()?;
    let grad = |var: &Var| grads.get(var).map(values).unwrap_or(vec![0.0; var.elem_count()]);
    let tol = if stored_f32 { grad_tol.max(1e-6) } else { grad_tol };
    checks.relative(&label("grad.x"), &grad(&x_var), &golden.values("grad.x"), tol);
    for name in names.iter().filter(|n| !["weight", "bias"].contains(&n.as_str())) {
        let wanted = golden.values(&format!("grad.{name}"));
        checks.relative(
            &label(&format!("grad.{name}")),
            &grad(&vars[&ours(name)]),
            &wanted,
            grad_tol,
        );
    }

    // The frozen part's gradients, which an adapted layer never computes, by the
    // linear layer that `full` trains.
    let [w, b] = ["param.weight", "param.bias"]
        .map(|n| Var::from_tensor(&golden.get(n).to_dtype(dtype).unwrap()).unwrap());
    let y = moa_kernels::linear::linear(&x, w.as_tensor(), Some(b.as_tensor()))?;
    let grads = (&y * &c)?.sum_all()?.backward()?;
    for (name, var) in [("grad.weight", w), ("grad.bias", b)] {
        if golden.find(name).is_some() {
            let got = values(grads.get(&var).unwrap());
            checks.relative(&label(name), &got, &golden.values(name), grad_tol);
        }
    }
    Ok(())
}
