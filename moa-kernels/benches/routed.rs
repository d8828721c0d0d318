//! A frozen linear layer with routed LoRA experts (ranks 1/2/4/8, linear router) against
//! the same layer without, in turns: `cargo bench -p moa-kernels --bench routed`. Prints
//! medians and the median, lowest and highest ratio of neighbours in time, forward and
//! forward with backward (the gradient of `x` included).

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use candle_core::{DType, Device, Result, Tensor, Var};
use moa_kernels::linear::linear;
use moa_kernels::lora::{Expert, routed_lora};
use moa_kernels::router::project;
use moa_kernels::routing::{Gating, Routing};
use std::time::Instant;

const RANKS: [usize; 4] = [1, 2, 4, 8];
const SECONDS: f64 = 4.0;

fn normal(shape: &[usize], scale: f64) -> Tensor {
    Tensor::randn(0f64, scale, shape, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
}

fn seconds(f: &dyn Fn() -> Result<()>) -> f64 {
    let start = Instant::now();
    f().unwrap();
    start.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(name: &str, frozen: &dyn Fn() -> Result<()>, routed: &dyn Fn() -> Result<()>) {
    let (mut all, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < SECONDS {
        let (a, b) = (seconds(frozen), seconds(routed));
        all[0].push(a);
        all[1].push(b);
        ratios.push(b / a);
    }
    let [frozen, routed] = all.each_mut().map(|times| 1e3 * median(times));
    let ratio = median(&mut ratios);
    let (low, high) = (ratios[ratios.len() / 10], ratios[ratios.len() * 9 / 10]);
    println!(
        "{name}: frozen {frozen:.2} ms, routed {routed:.2} ms, ratio {ratio:.3} ({low:.3} to {high:.3})"
    );
}

fn main() {
    moa_kernels::memory::keep_freed_memory();
    let var = |shape: &[usize]| Var::from_tensor(&normal(shape, 0.1)).unwrap();
    let (width, gating) = (768, Gating { top_k: 1, renormalise: false });
    for (tokens, out) in [(1576, 2304), (1576, 768), (6304, 2304), (6304, 768)] {
        let x = Var::from_tensor(&normal(&[tokens, width], 1.0)).unwrap();
        let constant = x.as_detached_tensor();
        let (w, b) = (normal(&[out, width], 0.02), normal(&[out], 0.02));
        let gate = var(&[RANKS.len(), width]);
        let experts = RANKS.map(|r| {
            let (down, up) = (var(&[r, width]), var(&[out, r]));
            Expert { down: down.as_tensor().clone(), up: up.as_tensor().clone() }
        });
        let downs = Tensor::cat(&experts.each_ref().map(|e| &e.down), 0).unwrap();
        let frozen = |x: &Tensor| linear(x, &w, Some(&b));
        let routed = |x: &Tensor| {
            let (scores, shared) = project(x, &gate, None, Some(&downs))?;
            let routing = Routing::new(&scores, None, gating)?.sharing(shared);
            routed_lora(x, &w, Some(&b), &routing, &experts, None, 1.0)
        };
        let name = format!("{tokens} tokens, {width} to {out}");
        compare(&format!("{name}, forward"), &|| frozen(&constant).map(drop), &|| {
            routed(&constant).map(drop)
        });
        // Of the sum of all outputs.
        compare(&format!("{name}, training"), &|| frozen(&x)?.backward().map(drop), &|| {
            routed(&x)?.backward().map(drop)
        });
    }
}
