//! Tokens in the order of their experts.

use super::super::{like, wide};
use super::spans::Spans;
use crate::kernels::experts::Scaled;
use crate::kernels::{self, grouped};
use crate::routing::Routing;
use candle_core::{Result, Tensor};

/// Every (token, choice) pair, ordered by expert and then by token.
pub struct Order {
    /// The pair at each place, `token * top_k + choice`, `[pairs]`.
    pairs: Tensor,
    /// The token at each place, `[pairs]`.
    tokens: Tensor,
    /// The place of each pair, `[pairs]`.
    places: Tensor,
    firsts: Firsts,
    top_k: usize,
}

/// First place of each expert, and the number of pairs.
enum Firsts {
    /// Known to the host, which had to wait for it.
    Here(Vec<usize>),
    /// On the device alone, for kernels that compute all experts at once.
    There(Tensor),
}

impl Order {
    /// For experts whose matrices have such sides and tokens with rows of the type of `x`.
    pub fn new(routing: &Routing, x: &Tensor, sides: (usize, usize)) -> Result<Self> {
        let (experts, top_k) = (routing.experts(), routing.gating.top_k);
        let device = routing.indices.device();
        if kernels::serves(device) && experts <= kernels::experts::MOST {
            let [pairs, tokens, places, firsts] =
                kernels::experts::order(&routing.indices, experts)?;
            let firsts = match grouped::takes(x, sides, pairs.elem_count(), experts)? {
                true => Firsts::There(firsts),
                false => {
                    let firsts = firsts.to_vec1::<u32>()?;
                    Firsts::Here(firsts.into_iter().map(|n| n as usize).collect())
                }
            };
            return Ok(Self { pairs, tokens, places, firsts, top_k });
        }
        let chosen = routing.indices.flatten_all()?.to_vec1::<u32>()?;
        let mut firsts = vec![0usize; experts + 1];
        for &expert in &chosen {
            firsts[expert as usize + 1] += 1;
        }
        for e in 0..experts {
            firsts[e + 1] += firsts[e];
        }
        let mut next = firsts.clone();
        let (mut pairs, mut places) = (vec![0u32; chosen.len()], vec![0u32; chosen.len()]);
        for (pair, &expert) in chosen.iter().enumerate() {
            let place = &mut next[expert as usize];
            (pairs[*place], places[pair]) = (pair as u32, *place as u32);
            *place += 1;
        }
        let tokens: Vec<u32> = pairs.iter().map(|&pair| pair / top_k as u32).collect();
        let up = |values: Vec<u32>| Tensor::from_vec(values, chosen.len(), device);
        let (pairs, tokens, places) = (up(pairs)?, up(tokens)?, up(places)?);
        Ok(Self { pairs, tokens, places, firsts: Firsts::Here(firsts), top_k })
    }

    /// Rows of tokens in order, each times its scaled gate.
    pub fn gather(&self, rows: &Tensor, gates: Option<Scaled<'_>>) -> Result<Tensor> {
        if kernels::runs(rows) {
            return kernels::experts::gather(rows, &self.pairs, self.top_k, gates);
        }
        let rows = rows.index_select(&self.tokens, 0)?;
        match gates {
            Some(gates) => rows.broadcast_mul(&like(&self.weights(gates)?, &rows)?.unsqueeze(1)?),
            None => Ok(rows),
        }
    }

    /// Scaled gates in order, `[pairs]`.
    fn weights(&self, (gates, scale): Scaled<'_>) -> Result<Tensor> {
        gates.flatten_all()?.index_select(&self.pairs, 0)? * scale
    }

    /// Rows of tokens as [`Self::times`] and [`Self::outer`] take them: kernels find them where
    /// they are.
    pub fn rows(&self, rows: &Tensor) -> Result<Tensor> {
        match self.firsts {
            Firsts::Here(_) => self.gather(rows, None),
            Firsts::There(_) => Ok(rows.clone()),
        }
    }

    /// [`Self::rows`], each times the matrix of its expert, `[experts, in, out]`, in order.
    pub fn times(&self, rows: &Tensor, matrices: &Tensor) -> Result<Tensor> {
        match &self.firsts {
            Firsts::Here(firsts) => Spans(firsts).times(rows, matrices),
            Firsts::There(firsts) => {
                grouped::Order { tokens: &self.tokens, firsts }.times(rows, matrices)
            }
        }
    }

    /// For each expert, `a^T b` over its rows, `[experts, in, out]`: those of `a` in order, and
    /// [`Self::rows`].
    pub fn outer(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        match &self.firsts {
            Firsts::Here(firsts) => Spans(firsts).outer(a, b),
            Firsts::There(firsts) => grouped::Order { tokens: &self.tokens, firsts }.outer(a, b),
        }
    }

    /// `scale` times the products of ordered rows and those of their tokens, `[tokens, top_k]`.
    pub fn dots(&self, a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
        if kernels::runs(a) {
            let dots = kernels::experts::dots(a, b, &self.places, self.top_k, scale)?;
            return dots.reshape(((), self.top_k));
        }
        let a = a.index_select(&self.places, 0)?.reshape(((), self.top_k, a.dim(1)?))?;
        wide(&a)?.broadcast_mul(&wide(b)?.unsqueeze(1)?)?.sum(2)? * scale
    }

    /// `base` plus the sum over each token's pairs of ordered rows times scaled gates, plus a bias.
    pub fn combine(
        &self,
        base: &Tensor,
        rows: &Tensor,
        gates: Scaled<'_>,
        bias: Option<&Tensor>,
    ) -> Result<Tensor> {
        let bias = bias.map(|b| like(b, base)).transpose()?;
        if kernels::runs(base) {
            return kernels::experts::combine(base, rows, &self.places, gates, bias.as_ref());
        }
        let rows = rows.broadcast_mul(&like(&self.weights(gates)?, rows)?.unsqueeze(1)?)?;
        let rows = rows.index_select(&self.places, 0)?;
        let rows = rows.reshape(((), self.top_k, rows.dim(1)?))?.sum(1)?;
        let sum = (base + rows)?;
        match bias {
            Some(bias) => sum.broadcast_add(&bias),
            None => Ok(sum),
        }
    }
}
