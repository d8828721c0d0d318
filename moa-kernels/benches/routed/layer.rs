//! A frozen linear layer with routed LoRA experts, and how long it takes.

use candle_core::{DType, Device, Result, Tensor, Var};
use moa_kernels::Tape;
use moa_kernels::linear::linear;
use moa_kernels::lora::{Expert, lora_by_router};
use moa_kernels::router::{Choice, Noise, Router};
use moa_kernels::routing::Gating;
use std::time::Instant;

pub const WIDTH: usize = 768;

/// The layer with its experts, and its input.
pub struct Layer {
    pub x: Var,
    pub weight: Tensor,
    pub bias: Tensor,
    pub router: Router,
    pub experts: Vec<Expert>,
    /// Passes between two looks at the clock: a GPU works while others are launched.
    pub passes: usize,
}

/// What is timed of it.
#[derive(Clone, Copy)]
pub enum Work {
    Forward,
    /// Forward, and backward from one output: what the gradient holds does not matter, and a sum
    /// over all of them would take longer than the layer on a GPU. What it takes to make that
    /// gradient is timed beside it and left out: in a model, the layer behind makes it.
    Training,
}

/// Milliseconds, and the median, lowest and highest ratio.
pub struct Times {
    pub frozen: f64,
    pub routed: f64,
    pub ratio: f64,
    pub low: f64,
    pub high: f64,
}

pub fn normal(shape: &[usize], scale: f64) -> Tensor {
    Tensor::randn(0f64, scale, shape, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
}

/// A scalar that depends on `y`.
fn one_output(y: &Tensor) -> Result<Tensor> {
    y.narrow(0, 0, 1)?.narrow(1, 0, 1)?.sum_all()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Layer {
    /// On the CPU, with a linear router.
    pub fn new(tokens: usize, out: usize, ranks: &[usize]) -> Self {
        let var = |shape: &[usize]| Var::from_tensor(&normal(shape, 0.1)).unwrap();
        let expert = |&r: &usize| {
            let (down, up) = (var(&[r, WIDTH]), var(&[out, r]));
            Expert { down: down.as_tensor().clone(), up: up.as_tensor().clone() }
        };
        let experts: Vec<_> = ranks.iter().map(expert).collect();
        Self {
            x: Var::from_tensor(&normal(&[tokens, WIDTH], 1.0)).unwrap(),
            weight: normal(&[out, WIDTH], 0.02),
            bias: normal(&[out], 0.02),
            router: Router::Linear { weight: var(&[ranks.len(), WIDTH]).as_tensor().clone() },
            experts,
            passes: 1,
        }
    }

    pub fn frozen(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.weight, Some(&self.bias))
    }

    pub fn routed(&self, x: &Tensor) -> Result<Tensor> {
        let gating = Gating { top_k: 1, renormalise: false };
        let choice = Choice { gating, noise: Noise::Off, indices: None };
        let (w, bias, experts) = (&self.weight, Some(&self.bias), &self.experts);
        Ok(lora_by_router(x, w, bias, &self.router, &choice, experts, None, 1.0)?.0)
    }

    fn seconds(&self, pass: &dyn Fn() -> Result<()>) -> f64 {
        let start = Instant::now();
        for _ in 0..self.passes {
            pass().unwrap();
        }
        self.x.device().synchronize().unwrap();
        start.elapsed().as_secs_f64() / self.passes as f64
    }

    /// Both in turns, for some seconds.
    pub fn compare(&self, work: Work, limit: f64) -> Times {
        let constant = self.x.as_detached_tensor();
        let y = Var::from_tensor(&self.frozen(&constant).unwrap()).unwrap();
        let training = |layer: &dyn Fn() -> Result<Tensor>| {
            self.seconds(&|| {
                let tape = Tape::start()?;
                tape.backward(&one_output(&layer()?)?).map(drop)
            })
        };
        let timed = |layer: &dyn Fn(&Tensor) -> Result<Tensor>| match work {
            Work::Forward => self.seconds(&|| layer(&constant).map(drop)),
            Work::Training => {
                let gradient = training(&|| Ok(y.as_tensor().clone()));
                training(&|| layer(&self.x)) - gradient
            }
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
