//! The gradients of a LoRA layer but that of its input: products with a side of few ranks,
//! which take as long as reading tokens does. So the tokens and the gradients of their outputs
//! are read once, some of them at a time, for all of these products, and while one product is
//! computed, what the next one reads is fetched.

use super::cpu::{Banks, Sizes};
use crate::cpu::{Into, Real, Threads, View, add_up, dot, gemm, product, unset};
use crate::routed::Layer;
use rayon::prelude::*;

/// Tokens that are read at a time, and stay in a cache: whole tiles, and as many as there are
/// in eight images of 197 for each of 16 sums. Like [`LANES`] it decides the order of additions,
/// and so the bits.
const TOKENS: usize = 98;
/// Sums of experts' gradients, each of neighbouring tokens, about: they are computed in parallel.
const LANES: usize = 16;

/// The gradients.
pub struct Thin<T> {
    /// Of the ranks, `[tokens, R]`.
    pub dh: Vec<T>,
    /// `[tokens, top_k]`
    pub gates: Vec<T>,
    /// Of the experts: `[R, in]`, then `[R, out]`.
    pub banks: Vec<T>,
}

/// What they are computed from.
#[derive(Clone, Copy)]
struct Given<'a, T> {
    dy: &'a [T],
    banks: &'a Banks<T>,
    h: &'a [T],
}

impl<T: Real> Layer<'_, T, Sizes> {
    /// From the gradient of the output and the ranks `h`.
    pub(super) fn thin(&self, dy: &[T], banks: &Banks<T>, h: &[T]) -> Thin<T> {
        let (total, k, tokens) = (self.total_rank(), self.top_k(), self.tokens());
        let size = total * (self.settings.width + self.settings.out);
        let lane = (tokens / (TOKENS * LANES)).max(1) * TOKENS;
        let (mut dh, mut gates) = (vec![T::zero(); tokens * total], vec![T::zero(); tokens * k]);
        let given = Given { dy, banks, h };
        let lanes = dh.par_chunks_mut(lane * total).zip(gates.par_chunks_mut(lane * k.max(1)));
        let sums: Vec<_> = lanes
            .enumerate()
            .with_max_len(1)
            .map(|(i, (dh, gates))| {
                let mut sum = unset(size);
                let blocks = dh.chunks_mut(TOKENS * total).zip(gates.chunks_mut(TOKENS * k));
                for (j, (dh, gates)) in blocks.enumerate() {
                    let first = i * lane + j * TOKENS;
                    let into = if j == 0 { Into::Set } else { Into::Add };
                    self.block(first, given, (dh, gates), into, &mut sum);
                }
                sum
            })
            .collect();
        Thin { dh, gates, banks: add_up(sums, size) }
    }

    /// Those of some tokens from `first` on; `sum` is of their experts, like [`Thin::banks`].
    fn block(
        &self,
        first: usize,
        Given { dy, banks, h }: Given<'_, T>,
        (dh, gates): (&mut [T], &mut [T]),
        into: Into<'_, T>,
        sum: &mut [T],
    ) {
        let (&Sizes { width, out, scale, .. }, total) = (self.settings, self.total_rank());
        let (k, (down, up)) = (self.top_k(), sum.split_at_mut(total * width));
        let tokens = gates.len() / k;
        let x = &self.x[first * width..][..tokens * width];
        let (g, rest) = dy[first * out..].split_at(tokens * out);
        let h = &h[first * total..][..tokens * total];
        // Of the neighbours, which this thread most often takes next.
        let next = rest[..rest.len().min(g.len())].split_at(rest.len().min(g.len()) / 2);

        // Of the gated ranks, then of gates and of ranks.
        let g = View::new(g, tokens, out);
        let all = [(g.before(x), View::new(&banks.up, out, total))];
        let dhg = product(Into::Set, &all, Threads::One);
        for (t, gates) in gates.chunks_mut(k).enumerate() {
            for (gate, (span, _)) in gates.iter_mut().zip(self.chosen(first + t)) {
                let span = t * total + span.start..t * total + span.end;
                *gate = dot(&dhg[span.clone()], &h[span]) * T::from_f64(scale);
            }
        }
        self.gate_rows(first, &dhg, dh);
        let mut hg = vec![T::zero(); h.len()];
        self.gate_rows(first, h, &mut hg);
        let (hg, dh) = (View::new(&hg, tokens, total), View::new(dh, tokens, total));
        gemm(up, out, into, &[(hg.t().before(next.0), g)], Threads::One);
        let x = View::new(x, tokens, width);
        gemm(down, width, into, &[(dh.t().before(next.1), x)], Threads::One);
    }
}

#[cfg(test)]
mod tests {
    use super::TOKENS;
    use crate::lora::{Expert, routed_lora};
    use crate::routing::{Gating, Routing};
    use candle_core::{Device, Result, Tensor, Var};

    /// More than fit one block of each lane, and some that are left over.
    #[test]
    fn gradients_of_many_tokens_are_the_sum_of_those_of_few() -> Result<()> {
        let (tokens, width, out) = (35 * TOKENS + 5, 4, 3);
        let normal = |shape: (usize, usize)| Tensor::randn(0f64, 1.0, shape, &Device::Cpu);
        let expert = |rank| {
            let (down, up) = (normal((rank, width))?, normal((out, rank))?);
            Ok([Var::from_tensor(&down)?, Var::from_tensor(&up)?])
        };
        let vars = [1, 2].into_iter().map(expert).collect::<Result<Vec<_>>>()?;
        let (x, scores, weight) =
            (normal((tokens, width))?, normal((tokens, 2))?, normal((out, width))?);
        let dy = normal((tokens, out))?;
        let gradients = |first: usize, count: usize| {
            let part = |all: &Tensor| all.narrow(0, first, count)?.contiguous();
            let experts = vars.iter().map(|[down, up]| Expert {
                down: down.as_tensor().clone(),
                up: up.as_tensor().clone(),
            });
            let gating = Gating { top_k: 1, renormalise: false };
            let routing = Routing::new(&part(&scores)?, None, gating)?;
            let experts: Vec<_> = experts.collect();
            let y = routed_lora(&part(&x)?, &weight, None, &routing, &experts, None, 1.0)?;
            let grads = (y * part(&dy)?)?.sum_all()?.backward()?;
            let flat = vars.iter().flatten().map(|var| match grads.get(var) {
                Some(grad) => grad.flatten_all(),
                None => candle_core::bail!("no gradient"),
            });
            Tensor::cat(&flat.collect::<Result<Vec<_>>>()?, 0)
        };
        let mut sum = gradients(0, TOKENS)?;
        for first in (TOKENS..tokens).step_by(TOKENS) {
            sum = (sum + gradients(first, TOKENS.min(tokens - first))?)?;
        }
        let worst = (sum - gradients(0, tokens)?)?.abs()?.max(0)?.to_scalar::<f64>()?;
        assert!(worst < 1e-11, "{worst}");
        Ok(())
    }
}
