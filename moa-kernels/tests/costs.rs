//! What a routed layer costs on a device: launches, and what it keeps for its backward pass.
//!
//! Everything runs on the CPU from the kernels' sources, through the code that launches them on
//! a device. Launches of our kernels and products of ours are counted where they are asked for.
//! What candle does besides (a copy, a product, a sum) each makes one new tensor, and is counted
//! by its memory: the only one with the alignment of `f32`.

#![allow(clippy::print_stdout, unsafe_code, clippy::unwrap_used)]

mod common;

use candle_core::{DType, Result, Tensor, Var};
use common::{arg, shim, tensor};
use moa_kernels::Tape;
use moa_kernels::kronecker::{self, DropConnect, Shared, routed_kronecker};
use moa_kernels::lora::{self, lora_by_router};
use moa_kernels::residual::residual;
use moa_kernels::router::{Choice, Noise, Router};
use moa_kernels::routing::{Balance, Gating, Routing, Threshold, balance_loss};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering};

thread_local! {
    /// Tensors that this thread has made.
    static MADE: Cell<usize> = const { Cell::new(0) };
    /// Whether they are counted.
    static SEEN: Cell<bool> = const { Cell::new(true) };
}

/// Bytes that are in use.
static LIVE: AtomicIsize = AtomicIsize::new(0);

/// One test at a time: they count what all do.
static ALONE: Mutex<()> = Mutex::new(());

struct Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        if layout.align() == align_of::<f32>() && SEEN.get() {
            MADE.set(MADE.get() + 1);
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const IN: usize = 48;
const OUT: usize = 80;
const P: usize = 24;
const RANKS: [usize; 4] = [1, 2, 4, 8];
const EXPERTS: usize = RANKS.len();
/// Sum of the ranks, filled up.
const ALL_RANKS: usize = 16;
const TOP_K: usize = 2;
/// `t` of Kronecker experts.
const T: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Lora,
    Kronecker,
}

/// A layer and tokens for it; everything but the weight trains.
struct Case {
    kind: Kind,
    x: Tensor,
    weight: Tensor,
    router: [Tensor; 4],
    shared: Shared,
    factors: Vec<(Tensor, Tensor)>,
}

fn var(seed: u64, shape: &[usize]) -> Tensor {
    let a = arg(seed, shape, 0.3);
    Var::from_tensor(&tensor(&a.0, &a.1, DType::F32)).unwrap().as_tensor().clone()
}

impl Case {
    fn new(kind: Kind, tokens: usize) -> Self {
        let w = arg(2, &[OUT, IN], 0.3);
        let factors = RANKS.iter().zip(10u64..).map(|(&r, seed)| match kind {
            Kind::Lora => (var(seed, &[r, IN]), var(seed + 10, &[OUT, r])),
            Kind::Kronecker => (var(seed, &[T, IN / T, r]), var(seed + 10, &[T, r, OUT / T])),
        });
        Self {
            kind,
            x: var(1, &[tokens, IN]),
            weight: tensor(&w.0, &w.1, DType::F32),
            router: [var(3, &[P, IN]), var(4, &[P]), var(5, &[P, EXPERTS]), var(6, &[1])],
            shared: Shared { left: var(7, &[T, T, 1]), right: var(8, &[T, 1, T]) },
            factors: factors.collect(),
        }
    }

    fn router(&self) -> Router {
        let [weight, bias, sim, temperature] = self.router.clone();
        Router::Cosine { weight, bias: Some(bias), sim, temperature }
    }

    fn forward(&self) -> Result<(Tensor, Routing)> {
        let gating = Gating { top_k: TOP_K, renormalise: false };
        let choice = Choice { gating, noise: Noise::Off, indices: None };
        let pairs = self.factors.iter().cloned();
        match self.kind {
            Kind::Lora => {
                let experts: Vec<_> = pairs.map(|(down, up)| lora::Expert { down, up }).collect();
                let (x, w, router) = (&self.x, &self.weight, self.router());
                lora_by_router(x, w, None, &router, &choice, &experts, None, 1.0)
            }
            Kind::Kronecker => {
                let pair = |(left, right)| kronecker::Expert { left, right };
                let (experts, off) = (pairs.map(pair).collect::<Vec<_>>(), DropConnect::Off);
                let (w, shared) = (&self.weight, &self.shared);
                let routing = self.router().route(&self.x, &choice)?;
                let x = &self.x;
                let y = routed_kronecker(x, w, None, &routing, shared, &experts, None, 1.0, off)?;
                Ok((y, routing))
            }
        }
    }

    /// Bytes that are alive after the forward pass, without its result; with a balance loss or
    /// without.
    fn kept(kind: Kind, tokens: usize, balanced: bool) -> isize {
        let case = Self::new(kind, tokens);
        let before = LIVE.load(Ordering::Relaxed);
        let (y, routing) = case.forward().unwrap();
        let balance = Balance { weight: 0.1, noise_std: 0.25, threshold: Threshold::Kth };
        let _loss = balanced.then(|| balance_loss(&routing, balance).unwrap());
        drop(routing);
        LIVE.load(Ordering::Relaxed) - before - (y.elem_count() * size_of::<f32>()) as isize
    }
}

/// Elements of four bytes that each token more makes a layer keep.
fn kept_per_token(kind: Kind, balanced: bool) -> f64 {
    Case::kept(kind, 3000, balanced); // what products keep to work with is there now
    let few = Case::kept(kind, 1000, balanced);
    (Case::kept(kind, 3000, balanced) - few) as f64 / 2000.0 / 4.0
}

#[test]
fn what_each_token_costs() {
    let _alone = ALONE.lock();
    let fits = |kept: f64, most: usize, what: &str| {
        assert!(kept <= most as f64 + 0.5, "{what}: {kept}, not {most}");
    };
    // Kronecker experts: tokens in the order of experts: pairs, their tokens, their places.
    let order = 3 * TOP_K;
    // On the CPU, with `k` choices: gates and indices; noisy probabilities and scores, the latter
    // twice, as an operation's result cannot be in what it keeps; the router's projection.
    let routing = 2 * TOP_K + 3 * EXPERTS + P + 1;
    fits(kept_per_token(Kind::Lora, false), routing + ALL_RANKS, "LoRA on the CPU");
    fits(kept_per_token(Kind::Kronecker, false), routing + order, "Kronecker on the CPU");
    if shim::compiler().is_none() {
        return;
    }
    shim::on_the_shim(|_| {
        // Ranks, the projection, choices.
        let lora = ALL_RANKS + 2 * TOP_K + 2 + P;
        fits(kept_per_token(Kind::Lora, false), lora, "LoRA");
        // Its experts take scores, probabilities and gates as they are.
        let kronecker = P + 2 * EXPERTS + 2 * TOP_K + order;
        fits(kept_per_token(Kind::Kronecker, false), kronecker, "Kronecker");
        // The balance loss besides: scores, probabilities, gates.
        let balance = 2 * EXPERTS + TOP_K;
        fits(kept_per_token(Kind::Lora, true), lora + balance, "LoRA, with a balance loss");
    });
}

/// What was asked of a device.
#[derive(Debug)]
struct Asked {
    /// Launches of our kernels and products, by name.
    ours: BTreeMap<String, usize>,
    /// candle's own operations.
    candles: usize,
}

impl Asked {
    fn all(&self) -> usize {
        self.ours.values().sum::<usize>() + self.candles
    }
}

fn asked<R>(shim: &shim::Shim, f: impl FnOnce() -> R) -> (R, Asked) {
    shim.counts();
    shim.works.set(Some(|works| SEEN.set(!works)));
    MADE.set(0);
    let result = f();
    let candles = MADE.get();
    (result, Asked { ours: shim.counts(), candles })
}

/// Of the forward pass and of the backward pass.
fn passes(forward: impl Fn() -> Result<Tensor>, shim: &shim::Shim) -> [Asked; 2] {
    let tape = Tape::start().unwrap();
    let (y, first) = asked(shim, || forward().unwrap());
    let loss = y.sum_all().unwrap();
    let (_, second) = asked(shim, || tape.backward(&loss).unwrap());
    [first, second]
}

/// Router and layer together.
#[test]
fn launches_of_a_layer() {
    let _alone = ALONE.lock();
    if shim::compiler().is_none() {
        return;
    }
    shim::on_the_shim(|shim| {
        // The backward pass of a sum, which is not the layer's.
        let (x, y) = (var(1, &[50, OUT]), var(2, &[50, OUT]));
        let [_, around] = passes(|| residual(&x, &y.detach(), None), shim);
        for (kind, forward, backward) in [(Kind::Lora, 3, 6), (Kind::Kronecker, 10, 17)] {
            let case = Case::new(kind, 50);
            case.forward().unwrap(); // what is made once is there now
            let [first, second] = passes(|| Ok(case.forward()?.0), shim);
            assert_eq!(first.all(), forward, "{kind:?} forward: {first:?}");
            assert_eq!(second.all() - around.all(), backward, "{kind:?} backward: {second:?}");
        }
    });
}
