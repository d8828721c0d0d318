//! Tokens in the order of their experts.

use super::super::{like, wide};
use crate::routing::Routing;
use candle_core::{Result, Tensor};

/// Every (token, choice) pair, ordered by expert and then by token.
pub struct Order {
    /// The pair at each place, `token * top_k + choice`, `[pairs]`.
    pub pairs: Tensor,
    /// The token at each place, `[pairs]`.
    tokens: Tensor,
    /// The place of each pair, `[pairs]`.
    places: Tensor,
    /// First place of each expert, and the number of pairs.
    firsts: Vec<usize>,
    top_k: usize,
}

impl Order {
    pub fn new(routing: &Routing) -> Result<Self> {
        let (experts, top_k) = (routing.experts(), routing.gating.top_k);
        let device = routing.indices.device();
        // The sizes of the products must be known here, so the device is waited for.
        if crate::kernels::serves(device) && experts <= crate::kernels::experts::MOST {
            let [pairs, tokens, places, firsts] =
                crate::kernels::experts::order(&routing.indices, experts)?;
            let firsts = firsts.to_vec1::<u32>()?.into_iter().map(|n| n as usize).collect();
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
        Ok(Self { pairs: up(pairs)?, tokens: up(tokens)?, places: up(places)?, firsts, top_k })
    }

    /// Every expert with its first place and the number of its pairs.
    fn spans(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.firsts.windows(2).enumerate().map(|(e, pair)| (e, pair[0], pair[1] - pair[0]))
    }

    /// Rows of tokens in order, each times its weight.
    pub fn gather(&self, rows: &Tensor, weights: Option<&Tensor>) -> Result<Tensor> {
        if crate::kernels::runs(rows) {
            return crate::kernels::experts::gather(rows, &self.tokens, weights);
        }
        let rows = rows.index_select(&self.tokens, 0)?;
        match weights {
            Some(weights) => rows.broadcast_mul(&like(weights, &rows)?.unsqueeze(1)?),
            None => Ok(rows),
        }
    }

    /// Ordered rows `[pairs, in]`, each times the matrix of its expert, `[experts, in, out]`.
    pub fn times(&self, rows: &Tensor, matrices: &Tensor) -> Result<Tensor> {
        if crate::kernels::run_of_cuda(rows) {
            let to = crate::kernels::gemm::room((rows.dim(0)?, matrices.dim(2)?), rows)?;
            for (e, first, n) in self.spans() {
                let (part, rows) = (to.narrow(0, first, n)?, rows.narrow(0, first, n)?);
                crate::kernels::gemm::fill(&part, &rows, &matrices.narrow(0, e, 1)?.squeeze(0)?)?;
            }
            return Ok(to);
        }
        let one = |(e, first, n)| rows.narrow(0, first, n)?.matmul(&matrices.get(e)?);
        let parts = self.spans().filter(|(_, _, n)| *n > 0).map(one);
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }

    /// For each expert, `a^T b` over its ordered rows, `[experts, in, out]`.
    pub fn outer(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (width, out) = (a.dim(1)?, b.dim(1)?);
        if crate::kernels::run_of_cuda(a) && self.spans().all(|(_, _, n)| n > 0) {
            let to = crate::kernels::gemm::room((self.firsts.len() - 1, width, out), a)?;
            for (e, first, n) in self.spans() {
                let (a, b) = (a.narrow(0, first, n)?, b.narrow(0, first, n)?);
                crate::kernels::gemm::fill(&to.narrow(0, e, 1)?.squeeze(0)?, &a.t()?, &b)?;
            }
            return Ok(to);
        }
        let one = |(_, first, n)| match n {
            0 => Tensor::zeros((width, out), a.dtype(), a.device()),
            _ => a.narrow(0, first, n)?.t()?.matmul(&b.narrow(0, first, n)?),
        };
        Tensor::stack(&self.spans().map(one).collect::<Result<Vec<_>>>()?, 0)
    }

    /// `scale` times the products of two ordered rows each, `[tokens, top_k]`.
    pub fn dots(&self, a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
        if crate::kernels::runs(a) {
            let dots = crate::kernels::experts::dots(a, b, &self.places, scale)?;
            return dots.reshape(((), self.top_k));
        }
        let dots = ((wide(a)? * wide(b)?)?.sum_keepdim(1)? * scale)?;
        dots.index_select(&self.places, 0)?.reshape(((), self.top_k))
    }

    /// `base` plus the sum over each token's pairs of weighted, ordered rows, plus a bias.
    pub fn combine(
        &self,
        base: &Tensor,
        rows: &Tensor,
        weights: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Tensor> {
        let bias = bias.map(|b| like(b, base)).transpose()?;
        if crate::kernels::runs(base) {
            let (places, k) = (&self.places, self.top_k);
            return crate::kernels::experts::combine(base, rows, places, weights, bias.as_ref(), k);
        }
        let rows = rows.broadcast_mul(&like(weights, rows)?.unsqueeze(1)?)?;
        let rows = rows.index_select(&self.places, 0)?;
        let rows = rows.reshape(((), self.top_k, rows.dim(1)?))?.sum(1)?;
        let sum = (base + rows)?;
        match bias {
            Some(bias) => sum.broadcast_add(&bias),
            None => Ok(sum),
        }
    }
}
