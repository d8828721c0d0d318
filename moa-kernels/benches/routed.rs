//! A frozen linear layer with routed LoRA experts (linear router) against the same layer
//! without, in turns: `cargo bench -p moa-kernels --bench routed`, and how that scales
//! with tokens, experts and ranks. Prints medians and the median, lowest and highest
//! ratio of neighbours in time, forward and forward with backward (the gradient of `x`
//! included).

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use candle_core::{DType, Device, Result, Tensor, Var};
use moa_kernels::Tape;
use moa_kernels::linear::linear;
use moa_kernels::lora::{Expert, routed_lora};
use moa_kernels::router::project;
use moa_kernels::routing::{Gating, Routing};
use std::time::Instant;

const RANKS: [usize; 4] = [1, 2, 4, 8];
const WIDTH: usize = 768;
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

/// The layer with its experts, and its input.
struct Layer {
    x: Var,
    weight: Tensor,
    bias: Tensor,
    gate: Var,
    experts: Vec<Expert>,
    downs: Tensor,
}

/// What is timed of it.
#[derive(Clone, Copy)]
enum Work {
    Forward,
    /// Forward and backward from the sum of all outputs.
    Training,
}

impl Layer {
    fn new(tokens: usize, out: usize, ranks: &[usize]) -> Self {
        let var = |shape: &[usize]| Var::from_tensor(&normal(shape, 0.1)).unwrap();
        let expert = |&r: &usize| {
            let (down, up) = (var(&[r, WIDTH]), var(&[out, r]));
            Expert { down: down.as_tensor().clone(), up: up.as_tensor().clone() }
        };
        let experts: Vec<_> = ranks.iter().map(expert).collect();
        let downs: Vec<_> = experts.iter().map(|e| &e.down).collect();
        Self {
            x: Var::from_tensor(&normal(&[tokens, WIDTH], 1.0)).unwrap(),
            weight: normal(&[out, WIDTH], 0.02),
            bias: normal(&[out], 0.02),
            gate: var(&[ranks.len(), WIDTH]),
            downs: Tensor::cat(&downs, 0).unwrap(),
            experts,
        }
    }

    fn frozen(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.weight, Some(&self.bias))
    }

    fn routed(&self, x: &Tensor) -> Result<Tensor> {
        let gating = Gating { top_k: 1, renormalise: false };
        let (scores, shared) = project(x, &self.gate, None, Some(&self.downs))?;
        let routing = Routing::new(&scores, None, gating)?.sharing(shared);
        routed_lora(x, &self.weight, Some(&self.bias), &routing, &self.experts, None, 1.0)
    }

    /// Both in turns, for some seconds.
    fn compare(&self, work: Work, limit: f64) -> Times {
        let constant = self.x.as_detached_tensor();
        let timed = |layer: &dyn Fn(&Tensor) -> Result<Tensor>| {
            seconds(&|| match work {
                Work::Forward => layer(&constant).map(drop),
                Work::Training => {
                    let tape = Tape::start()?;
                    tape.backward(&layer(&self.x)?.sum_all()?).map(drop)
                }
            })
        };
        let (mut all, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < limit {
            let (a, b) = (timed(&|x| self.frozen(x)), timed(&|x| self.routed(x)));
            all[0].push(a);
            all[1].push(b);
            ratios.push(b / a);
        }
        let [frozen, routed] = all.each_mut().map(|times| 1e3 * median(times));
        let ratio = median(&mut ratios);
        let (low, high) = (ratios[ratios.len() / 10], ratios[ratios.len() * 9 / 10]);
        Times { frozen, routed, ratio, low, high }
    }
}

/// Milliseconds, and the median, lowest and highest ratio.
struct Times {
    frozen: f64,
    routed: f64,
    ratio: f64,
    low: f64,
    high: f64,
}

/// Four experts of different rank, in the shapes of ViT-B/16.
fn shapes() {
    for (tokens, out) in [(1576, 2304), (1576, 768), (6304, 2304), (6304, 768)] {
        let layer = Layer::new(tokens, out, &RANKS);
        for (work, name) in [(Work::Forward, "forward"), (Work::Training, "training")] {
            let Times { frozen, routed, ratio, low, high } = layer.compare(work, SECONDS);
            println!(
                "{tokens} tokens, {WIDTH} to {out}, {name}: frozen {frozen:.2} ms, routed \
                 {routed:.2} ms, ratio {ratio:.3} ({low:.3} to {high:.3})"
            );
        }
    }
}

/// How the ratio grows: tokens and experts of rank 4, then ranks of four experts.
fn scaling() {
    let out = 3 * WIDTH;
    println!("\n| tokens | experts | rank | frozen ms | forward | frozen ms | training |");
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    let grid = [197, 1576, 6304].into_iter().flat_map(|t| [1, 4, 16].map(|e| (t, e, 4)));
    let ranks = [1, 8, 16, 64].map(|rank| (1576, 4, rank));
    for (tokens, experts, rank) in grid.chain(ranks) {
        let layer = Layer::new(tokens, out, &vec![rank; experts]);
        let mut row = format!("| {tokens} | {experts} | {rank} |");
        for work in [Work::Forward, Work::Training] {
            let Times { frozen, ratio, low, high, .. } = layer.compare(work, SECONDS);
            row += &format!(" {frozen:.2} | {ratio:.3} ({low:.3} to {high:.3}) |");
        }
        println!("{row}");
    }
}

fn main() {
    moa_kernels::memory::keep_freed_memory();
    shapes();
    scaling();
}
