//! `balance.cu`.

use super::launch::{Launch, empty, widest};
use crate::routing::{Balance, Routing, Threshold};
use candle_core::{DType, Result, Tensor};

const MODULE: (&str, &str) = ("moa-balance", super::ptx::BALANCE);

fn choice(routing: &Routing, balance: Balance) -> usize {
    match balance.threshold {
        Threshold::Kth => routing.gating.top_k - 1,
        Threshold::Max => 0,
    }
}

/// The loss, and its slopes by the sums over tokens, `[2 experts]` of the widest floats.
pub fn loss(scores: &Tensor, routing: &Routing, balance: Balance) -> Result<(Tensor, Tensor)> {
    let (tokens, experts) = scores.dims2()?;
    let wide = widest(scores);
    let parts = empty((tokens, 2 * experts), wide, scores)?;
    let launch = Launch::plain(scores.device(), MODULE, "balance_parts")?.tensor(&parts)?;
    let launch = launch.tensor(scores)?.tensor(&routing.probs)?.tensor(&routing.indices)?;
    let launch = launch.long(tokens).int(experts).int(routing.gating.top_k);
    let launch = launch.int(choice(routing, balance)).double(balance.noise_std);
    launch.threads(tokens, 1)?;
    let sums = Tensor::ones((1, tokens), wide, scores.device())?.matmul(&parts)?;
    let (loss, slopes) = (empty((), DType::F32, scores)?, empty(2 * experts, wide, scores)?);
    let launch = Launch::plain(scores.device(), MODULE, "balance_loss")?.tensor(&loss)?;
    let launch = launch.tensor(&slopes)?.tensor(&sums)?.int(experts);
    launch.double(0.5 * balance.weight).single()?;
    Ok((loss, slopes))
}

/// The gradient of the scores from that of the loss.
pub fn grad(
    scores: &Tensor,
    routing: &Routing,
    balance: Balance,
    slopes: &Tensor,
    upstream: &Tensor,
) -> Result<Tensor> {
    let (tokens, experts) = scores.dims2()?;
    let dscores = empty((tokens, experts), DType::F32, scores)?;
    let launch = Launch::plain(scores.device(), MODULE, "balance_grad")?.tensor(&dscores)?;
    let launch = launch.tensor(scores)?.tensor(&routing.probs)?.tensor(&routing.indices)?;
    let launch = launch.tensor(slopes)?.tensor(upstream)?.long(tokens).int(experts);
    let launch = launch.int(routing.gating.top_k).int(choice(routing, balance));
    launch.double(balance.noise_std).threads(tokens, 1)?;
    Ok(dscores)
}
