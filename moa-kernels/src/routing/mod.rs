//! From router scores to gates: noise, softmax, top-k, and the balance loss.

mod balance;
mod cpu;
mod noise;

pub use balance::{Balance, Threshold, balance_loss};
pub use noise::router_noise;

pub(crate) use cpu::score_grad;

use crate::cpu::{by_float, tensor, with_data};
use crate::router::Shared;
use candle_core::{DType, Result, Tensor};

/// How scores become gates (paper section 3, reference code `CosineTopKGate`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gating {
    /// Experts per token.
    pub top_k: usize,
    /// Divide the chosen probabilities by their sum. The paper does not.
    pub renormalise: bool,
}

/// Which experts each token goes to, and how strongly.
///
/// It belongs to the scores it was made from: gradients of the gates flow into
/// `scores` through the operations that take a `Routing`.
#[derive(Clone, Debug)]
pub struct Routing {
    /// `[tokens, experts]`, without noise; tracked if the router trains.
    pub scores: Tensor,
    /// `[tokens, experts]`, softmax of the noisy scores.
    pub probs: Tensor,
    /// `[tokens, top_k]` `u32`, best first; the first of equals wins.
    pub indices: Tensor,
    /// `[tokens, top_k]`, the weight of each chosen expert.
    pub gates: Tensor,
    /// The rule that made the gates.
    pub gating: Gating,
    /// There is one expert, which takes every token with weight 1.
    pub(crate) single: bool,
    /// Work shared with the projection that the scores came from.
    pub(crate) shared: Shared,
}

impl Routing {
    /// Chooses experts by `softmax(scores + noise)`.
    ///
    /// # Shapes
    /// `scores` and `noise` `[tokens, experts]`.
    ///
    /// # Errors
    /// If the shapes differ or `top_k` is not in `1..=experts`.
    pub fn new(scores: &Tensor, noise: Option<&Tensor>, gating: Gating) -> Result<Self> {
        let (tokens, experts) = scores.dims2()?;
        let k = gating.top_k;
        if k == 0 || k > experts {
            candle_core::bail!("routing: top_k {k} of {experts} experts");
        }
        if noise.is_some_and(|n| n.dims() != scores.dims()) {
            candle_core::bail!("routing: the noise is not {:?}", scores.shape());
        }
        let noisy = match noise {
            Some(noise) => (scores.detach() + noise)?,
            None => scores.detach(),
        };
        if crate::by_tensors(scores) {
            let (probs, indices, gates) = crate::device::routing::choose(&noisy, gating)?;
            let (scores, shared) = (scores.clone(), Shared::default());
            return Ok(Self { scores, probs, indices, gates, gating, single: false, shared });
        }
        by_float!(noisy.dtype(), "routing", T => with_data::<T, _>(&noisy, |noisy| {
            let chosen = cpu::choose(noisy, experts, gating);
            Ok(Self {
                scores: scores.clone(),
                probs: tensor(chosen.probs, (tokens, experts), scores)?,
                indices: tensor(chosen.indices, (tokens, k), scores)?,
                gates: tensor(chosen.gates, (tokens, k), scores)?,
                gating,
                single: false,
                shared: Shared::default(),
            })
        }))
    }

    /// The choices of another time, `[tokens, top_k]` as in [`Routing::indices`], weighted by
    /// `softmax(scores)`: what does not jump when the scores change.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn chosen(scores: &Tensor, indices: &Tensor, gating: Gating) -> Result<Self> {
        let (tokens, _) = scores.dims2()?;
        if indices.dims() != [tokens, gating.top_k] {
            candle_core::bail!("routing: choices {:?} of {tokens} tokens", indices.shape());
        }
        let detached = scores.detach();
        let exp = detached.broadcast_sub(&detached.max_keepdim(1)?)?.exp()?;
        let probs = exp.broadcast_div(&exp.sum_keepdim(1)?)?;
        let mut gates = probs.gather(indices, 1)?;
        if gating.renormalise {
            gates = gates.broadcast_div(&gates.sum_keepdim(1)?)?;
        }
        let (scores, indices, shared) = (scores.clone(), indices.clone(), Shared::default());
        Ok(Self { scores, probs, indices, gates, gating, single: false, shared })
    }

    /// One expert that takes every token with weight 1: an adapter without a router.
    ///
    /// # Errors
    /// Only if memory runs out.
    pub fn single(x: &Tensor, tokens: usize) -> Result<Self> {
        // Gates have at least single precision beside tokens of half.
        let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let ones = Tensor::ones((tokens, 1), dtype, x.device())?;
        Ok(Self {
            scores: ones.zeros_like()?,
            probs: ones.clone(),
            indices: Tensor::zeros((tokens, 1), DType::U32, x.device())?,
            gates: ones,
            gating: Gating { top_k: 1, renormalise: false },
            single: true,
            shared: Shared::default(),
        })
    }

    /// The same, for a layer that shares work with the projection behind the scores.
    pub fn sharing(self, shared: Shared) -> Self {
        Self { shared, ..self }
    }

    /// A copy that no gradient flows through.
    pub fn detached(&self) -> Self {
        Self { scores: self.scores.detach(), shared: Shared::default(), ..self.clone() }
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.scores.dims()[0]
    }

    /// Number of experts.
    pub fn experts(&self) -> usize {
        self.scores.dims()[1]
    }

    /// How many (token, choice) pairs each expert got.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn tokens_per_expert(&self) -> Result<Vec<u32>> {
        let mut counts = vec![0; self.experts()];
        for expert in self.indices.flatten_all()?.to_vec1::<u32>()? {
            counts[expert as usize] += 1;
        }
        Ok(counts)
    }
}
