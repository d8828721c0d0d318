//! Every operation against the same mathematics composed of candle's own, forward
//! and forward with backward: `cargo bench -p moa-kernels`. Sizes are those of
//! ViT-B/16 at 224 x 224, 8 images: 1576 tokens of width 768, 12 heads.

#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::{D, DType, Device, Result, Tensor, Var};
use criterion::{Criterion, criterion_group, criterion_main};
use moa_kernels::activation::{Activation, activate};
use moa_kernels::attention::attention;
use moa_kernels::kronecker::{self, DropConnect, Shared, routed_kronecker};
use moa_kernels::layer_norm::layer_norm;
use moa_kernels::linear::linear;
use moa_kernels::lora::{self, routed_lora};
use moa_kernels::residual::residual;
use moa_kernels::rng::{Key, Purpose};
use moa_kernels::routing::{Gating, Routing};

const IMAGES: usize = 8;
const TOKENS: usize = 197;
const DIM: usize = 768;
const HEADS: usize = 12;
const RANKS: [usize; 4] = [1, 2, 4, 8];
const T: usize = 64;

fn normal(shape: &[usize], scale: f64) -> Tensor {
    Tensor::randn(0f64, scale, shape, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
}

/// Times `y = f(x)` and, with `x` and `trained` tracked, `y` and its gradients.
fn both(c: &mut Criterion, op: &str, who: &str, x: &Var, f: impl Fn(&Tensor) -> Result<Tensor>) {
    let constant = x.as_detached_tensor();
    moa_kernels::memory::keep_freed_memory();
    let mut group = c.benchmark_group(op);
    group.sample_size(10);
    group.bench_function(format!("forward/{who}"), |b| b.iter(|| f(&constant).unwrap()));
    group.bench_function(format!("training/{who}"), |b| {
        b.iter(|| f(x).unwrap().backward().unwrap()) // of the sum of all outputs
    });
}

fn dense(c: &mut Criterion) {
    let x = Var::from_tensor(&normal(&[IMAGES, TOKENS, DIM], 1.0)).unwrap();
    let (w, b) = (normal(&[4 * DIM, DIM], 0.02), normal(&[4 * DIM], 0.02));
    both(c, "linear", "moa", &x, |x| linear(x, &w, Some(&b)));
    both(c, "linear", "candle", &x, |x| x.broadcast_matmul(&w.t()?)?.broadcast_add(&b));

    let (gamma, beta) = (normal(&[DIM], 1.0), normal(&[DIM], 1.0));
    both(c, "layer norm", "moa", &x, |x| layer_norm(x, &gamma, &beta, 1e-6));
    both(c, "layer norm", "candle", &x, |x| {
        let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let var = x.sqr()?.mean_keepdim(D::Minus1)?;
        x.broadcast_div(&(var + 1e-6)?.sqrt()?)?.broadcast_mul(&gamma)?.broadcast_add(&beta)
    });

    let y = normal(&[IMAGES, TOKENS, DIM], 1.0);
    both(c, "residual", "moa", &x, |x| residual(x, &y, None));
    both(c, "residual", "candle", &x, |x| x + &y);

    let h = Var::from_tensor(&normal(&[IMAGES, TOKENS, 4 * DIM], 1.0)).unwrap();
    both(c, "gelu", "moa", &h, |h| activate(h, Activation::Gelu));
    both(c, "gelu", "candle", &h, Tensor::gelu_erf);

    let qkv = Var::from_tensor(&normal(&[IMAGES, TOKENS, 3 * DIM], 1.0)).unwrap();
    both(c, "attention", "moa", &qkv, |qkv| attention(qkv, HEADS, TOKENS));
    both(c, "attention", "candle", &qkv, |qkv| {
        let heads = (IMAGES, TOKENS, 3, HEADS, DIM / HEADS);
        let qkv = qkv.reshape(heads)?.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let part = |i| qkv.narrow(0, i, 1)?.squeeze(0);
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let s = (q.matmul(&k.t()?)? / ((DIM / HEADS) as f64).sqrt())?;
        let e = s.broadcast_sub(&s.max_keepdim(D::Minus1)?.detach())?.exp()?;
        let p = e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?;
        p.matmul(&v)?.transpose(1, 2)?.reshape((IMAGES, TOKENS, DIM))
    });
}

/// The weight of every expert for every token, zero where it was not chosen.
fn dense_gates(scores: &Tensor) -> Result<Tensor> {
    let e = scores.broadcast_sub(&scores.max_keepdim(1)?.detach())?.exp()?;
    let p = e.broadcast_div(&e.sum_keepdim(1)?)?;
    let chosen = p.broadcast_ge(&p.max_keepdim(1)?)?.to_dtype(p.dtype())?;
    p * chosen
}

fn routed(c: &mut Criterion) {
    let (tokens, out) = (IMAGES * TOKENS, 3 * DIM);
    let x = Var::from_tensor(&normal(&[tokens, DIM], 1.0)).unwrap();
    let (w, b) = (normal(&[out, DIM], 0.02), normal(&[out], 0.02));
    let var = |shape: &[usize]| Var::from_tensor(&normal(shape, 0.1)).unwrap().as_tensor().clone();
    let gate = var(&[RANKS.len(), DIM]);
    let gating = Gating { top_k: 1, renormalise: false };
    let base = |x: &Tensor| x.matmul(&w.t()?)?.broadcast_add(&b);
    both(c, "frozen linear", "moa", &x, |x| linear(x, &w, Some(&b)));

    let experts = RANKS.map(|r| lora::Expert { down: var(&[r, DIM]), up: var(&[out, r]) });
    both(c, "routed lora", "moa", &x, |x| {
        let routing = Routing::new(&linear(x, &gate, None)?, None, gating)?;
        routed_lora(x, &w, Some(&b), &routing, &experts, None, 1.0)
    });
    both(c, "routed lora", "candle", &x, |x| {
        let gates = dense_gates(&x.matmul(&gate.t()?)?)?;
        let mut y = base(x)?;
        for (e, expert) in experts.iter().enumerate() {
            let one = x.matmul(&expert.down.t()?)?.matmul(&expert.up.t()?)?;
            y = (y + one.broadcast_mul(&gates.narrow(1, e, 1)?)?)?;
        }
        Ok(y)
    });

    let shared = Shared { left: var(&[T, T, 1]), right: var(&[T, 1, T]) };
    let experts = RANKS
        .map(|r| kronecker::Expert { left: var(&[T, DIM / T, r]), right: var(&[T, r, out / T]) });
    for (name, p) in [("routed kronecker", 0.0), ("routed kronecker, drop connect", 0.5)] {
        both(c, name, "moa", &x, |x| {
            let key = Key::new(0, Purpose::DropConnect, 0);
            let drop = match p > 0.0 {
                true => DropConnect::Seeded { key, layer: 0, p },
                false => DropConnect::Off,
            };
            let routing = Routing::new(&linear(x, &gate, None)?, None, gating)?;
            routed_kronecker(x, &w, Some(&b), &routing, &shared, &experts, None, 1.0, drop)
        });
        both(c, name, "candle", &x, |x| {
            let gates = dense_gates(&x.matmul(&gate.t()?)?)?;
            let outer = shared.left.broadcast_mul(&shared.right)?.reshape((T, T * T))?;
            let mut y = base(x)?;
            for (e, expert) in experts.iter().enumerate() {
                let inner = expert.left.matmul(&expert.right)?.reshape((T, DIM * out / T / T))?;
                let grid = outer.t()?.matmul(&inner)?.reshape((T, T, DIM / T, out / T))?;
                let mut h = grid.permute((0, 2, 1, 3))?.reshape((DIM, out))?;
                if p > 0.0 {
                    let keep = Tensor::rand(0f32, 1f32, (DIM, out), &Device::Cpu)?.ge(p)?;
                    h = ((h * keep.to_dtype(DType::F32)?)? * (1.0 / (1.0 - p)))?;
                }
                y = (y + x.matmul(&h)?.broadcast_mul(&gates.narrow(1, e, 1)?)?)?;
            }
            Ok(y)
        });
    }
}

criterion_group!(benches, dense, routed);
criterion_main!(benches);
