//! What is particular to one forward pass: whether gradients are wanted, where
//! random numbers come from, and what it leaves behind.

use crate::error::Result;
use candle_core::Tensor;
use moa_kernels::kronecker::{DropConnect, keep_factor, keep_mask};
use moa_kernels::rng::{Key, Purpose};
use moa_kernels::router::Noise;
use moa_kernels::routing::Routing;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// One adapted linear layer, as random numbers see it.
#[derive(Clone, Debug)]
pub struct LayerId {
    /// Name in the checkpoint, `blocks.0.attn.qkv`.
    pub name: String,
    /// Number in the counters: 4 x block + (qkv 0, proj 1, fc1 2, fc2 3).
    pub number: u16,
}

/// Where a training pass gets its random numbers.
pub trait Random {
    /// Noise for router scores, of standard deviation `std`.
    ///
    /// # Errors
    /// If the numbers cannot be had.
    fn noise(&self, layer: &LayerId, std: f64) -> Result<Noise>;

    /// The entries of Kronecker deltas to drop with probability `p`.
    fn drop_connect(&self, layer: &LayerId, p: f64) -> DropConnect;

    /// Factors of the inner ranks of a Kronecker expert, `t` times `rank` of them: 0 where
    /// dropped, with probability `p`, else one over the share that is kept.
    fn rank_dropout(&self, layer: &LayerId, expert: u8, count: usize, p: f64) -> Vec<f64>;

    /// The key for dropout in front of the head.
    fn head(&self) -> Key;
}

/// Random numbers of one step of a seeded run.
#[derive(Clone, Copy, Debug)]
pub struct Seeded {
    /// The run's seed.
    pub seed: u64,
    /// The step; with gradient accumulation, the micro-batch counts as a step.
    pub step: u32,
}

impl Random for Seeded {
    fn noise(&self, layer: &LayerId, std: f64) -> Result<Noise> {
        let key = Key::new(self.seed, Purpose::RouterNoise, self.step);
        Ok(Noise::Seeded { key, layer: layer.number, std })
    }

    fn drop_connect(&self, layer: &LayerId, p: f64) -> DropConnect {
        let key = Key::new(self.seed, Purpose::DropConnect, self.step);
        DropConnect::Seeded { key, layer: layer.number, p }
    }

    fn rank_dropout(&self, layer: &LayerId, expert: u8, count: usize, p: f64) -> Vec<f64> {
        let key = Key::new(self.seed, Purpose::RankDropout, self.step);
        let keep = keep_mask(key, layer.number, expert, p, count);
        keep.into_iter().map(|kept| f64::from(kept) * keep_factor(p)).collect()
    }

    fn head(&self) -> Key {
        Key::new(self.seed, Purpose::HeadDropout, self.step)
    }
}

/// One forward pass.
pub struct Pass<'a> {
    tracks: bool,
    /// `None` in evaluation: no noise, no dropout.
    pub random: Option<&'a dyn Random>,
    recomputes: bool,
    watches: bool,
    choices: Option<&'a BTreeMap<String, Tensor>>,
    routings: RefCell<Vec<(LayerId, Routing)>>,
    balance: RefCell<Vec<Tensor>>,
}

impl<'a> Pass<'a> {
    /// Evaluation: nothing is random, nothing is tracked.
    pub fn eval() -> Self {
        Self {
            tracks: false,
            random: None,
            recomputes: false,
            watches: false,
            choices: None,
            routings: RefCell::default(),
            balance: RefCell::default(),
        }
    }

    /// Training: gradients are tracked, `random` drives noise and dropout.
    pub fn train(random: &'a dyn Random) -> Self {
        Self { tracks: true, random: Some(random), ..Self::eval() }
    }

    /// Keeps the routing of every layer for [`Pass::routings`].
    pub fn watching(self) -> Self {
        Self { watches: true, ..self }
    }

    /// Sends tokens to the experts of another pass, whatever their scores: by layer the
    /// `indices` of its [`Pass::routings`].
    pub fn choosing(self, choices: &'a BTreeMap<String, Tensor>) -> Self {
        Self { choices: Some(choices), ..self }
    }

    /// The choices of another pass for a layer.
    pub(crate) fn choices(&self, layer: &LayerId) -> Option<&Tensor> {
        self.choices?.get(&layer.name)
    }

    /// Tracks gradients although nothing is random.
    pub fn tracking(self) -> Self {
        Self { tracks: true, ..self }
    }

    /// Computes inner values of frozen MLPs once more in the backward pass instead of
    /// keeping them. The bits are the same.
    pub fn recomputing(self, recomputes: bool) -> Self {
        Self { recomputes, ..self }
    }

    /// See [`Pass::recomputing`].
    pub fn recomputes(&self) -> bool {
        self.recomputes
    }

    /// True if gradients are wanted.
    pub fn tracks(&self) -> bool {
        self.tracks
    }

    /// True if it matters where routers send tokens that the result does not need.
    pub(crate) fn heeds_routers(&self) -> bool {
        self.tracks || self.watches || self.choices.is_some()
    }

    /// Called by a routed layer.
    pub(crate) fn routed(&self, layer: &LayerId, routing: &Routing, balance: Option<Tensor>) {
        if self.watches {
            self.routings.borrow_mut().push((layer.clone(), routing.detached()));
        }
        self.balance.borrow_mut().extend(balance);
    }

    /// The sum of the balance losses of all routed layers; `None` without any.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn balance(&self) -> Result<Option<Tensor>> {
        let mut total: Option<Tensor> = None;
        for loss in self.balance.borrow().iter() {
            total = Some(match total {
                Some(sum) => (sum + loss)?,
                None => loss.clone(),
            });
        }
        Ok(total)
    }

    /// The routing of every layer in order, if this pass watches.
    pub fn routings(&self) -> Vec<(LayerId, Routing)> {
        self.routings.borrow().clone()
    }

    /// The balance loss of every routed layer in order.
    pub fn balances(&self) -> Vec<Tensor> {
        self.balance.borrow().clone()
    }
}
