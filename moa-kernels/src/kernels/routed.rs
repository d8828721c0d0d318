//! `routed_*.cu`: a routed layer in a few launches.

mod sizes;

pub use sizes::{EXPERTS, RANKS, Sizes};

use super::gemm;
use super::launch::{Launch, empty};
use candle_core::{DType, Result, Tensor};

const PACK: (&str, &str) = ("moa-routed-pack", super::ptx::ROUTED_PACK);
const FORWARD: (&str, &str) = ("moa-routed-forward", super::ptx::ROUTED_FORWARD);
const GRAD: (&str, &str) = ("moa-routed-grad", super::ptx::ROUTED_GRAD);
const FINISH: (&str, &str) = ("moa-routed-finish", super::ptx::ROUTED_FINISH);

/// Threads and tokens of a block, and threads of one that finishes.
const THREADS: usize = 256;
const TOKENS: usize = 16;
const MANY: usize = 1024;
/// Blocks that sum over tokens, at most: enough for every processor to have two.
const PLANES: usize = 256;

/// A layer's tensors; those that train are `f32`.
pub struct Parts<'a> {
    pub weight: Option<&'a Tensor>,
    pub downs: Vec<Tensor>,
    pub ups: Vec<Tensor>,
    pub projection: Option<&'a Tensor>,
    pub projection_bias: Option<&'a Tensor>,
    pub sim: Option<&'a Tensor>,
    pub temperature: Option<&'a Tensor>,
    pub base_bias: Option<&'a Tensor>,
    pub bias: Option<&'a Tensor>,
}

/// What products and kernels take instead.
pub struct Operands {
    /// `[W; U]`, `[out + kept, width]`
    pub both: Tensor,
    /// `U` alone, for the backward pass.
    pub below: Option<Tensor>,
    pub small: Small,
}

/// Those that only the kernels take.
pub struct Small {
    /// All `up`, `[ranks, out]`.
    up: Option<Tensor>,
    /// Directions of experts.
    units: Option<Tensor>,
}

/// One launch.
pub fn pack(s: &Sizes, from: &Parts<'_>, like: &Tensor, trains: bool) -> Result<Operands> {
    let (dtype, kept) = (like.dtype(), s.kept());
    let both = empty((s.out + kept, s.width), dtype, like)?;
    let below = match (trains, s.out) {
        (false, _) => None,
        (true, 0) => Some(both.clone()),
        (true, _) => Some(empty((kept, s.width), dtype, like)?),
    };
    let up = (s.out > 0).then(|| empty((s.ranks(), s.out), dtype, like)).transpose()?;
    let units = (s.plane() + s.experts, DType::F32);
    let units = s.cosine.then(|| empty(units.0, units.1, like)).transpose()?;
    let launch = Launch::of(like.device(), PACK, "routed_pack", dtype)?.tensor(&both)?;
    let launch = launch.optional(below.as_ref().filter(|_| s.out > 0))?.optional(up.as_ref())?;
    let launch = launch.optional(units.as_ref())?.optional(from.weight)?;
    let launch = launch.table(from.downs.iter())?.table(from.ups.iter())?;
    let launch = launch.optional(from.projection)?.optional(from.projection_bias)?;
    let launch = launch.optional(from.sim)?.optional(from.temperature)?;
    let launch = launch.optional(from.base_bias)?.optional(from.bias)?;
    let launch = launch.counts(s.first_ranks()).words(s.words()).float(s.limit);
    let elements = (s.out + kept) * s.width + s.ranks() * s.out;
    let warps = THREADS / 32;
    let blocks = |n: usize| s.by_expert().div_ceil(warps) + (elements / n).div_ceil(THREADS);
    launch.wide_blocks(s.width | s.out, blocks, THREADS as u32)?;
    Ok(Operands { both, below, small: Small { up, units } })
}

/// What comes from outside besides: noise `[tokens, experts]`, choices `[tokens, k]`.
pub struct Given<'a> {
    pub noise: Option<&'a Tensor>,
    pub indices: Option<&'a Tensor>,
}

/// Results of the forward pass.
pub struct Forward {
    pub y: Option<Tensor>,
    /// `x U^T`, if it is wanted.
    pub kept: Option<Tensor>,
    /// Scores, probabilities, indices and gates, if there is a router.
    pub routed: Option<[Tensor; 4]>,
}

/// A product and a launch.
pub fn forward(
    s: &Sizes,
    x: &Tensor,
    operands: &Operands,
    given: &Given<'_>,
    trains: bool,
) -> Result<Forward> {
    let (tokens, dtype) = (x.dim(0)?, x.dtype());
    let wide = gemm::product(x, &operands.both.t()?)?;
    let y = (s.out > 0).then(|| empty((tokens, s.out), dtype, x)).transpose()?;
    let kept = match (trains, s.out) {
        (false, _) => None,
        (true, 0) => Some(wide.clone()),
        (true, _) => Some(empty((tokens, s.kept()), dtype, x)?),
    };
    let new = |cols: usize, dtype| empty((tokens, cols), dtype, x);
    let routed = match s.single {
        true => None,
        false => Some([
            new(s.experts, DType::F32)?,
            new(s.experts, DType::F32)?,
            new(s.k, DType::U32)?,
            new(s.k, DType::F32)?,
        ]),
    };
    let launch = Launch::of(x.device(), FORWARD, "routed_forward", dtype)?;
    let launch = launch.optional(y.as_ref())?.optional(kept.as_ref().filter(|_| s.out > 0))?;
    let launch = (0..4).try_fold(launch, |l, i| l.optional(routed.as_ref().map(|r| &r[i])))?;
    let launch = launch.tensor(&wide)?.optional(operands.small.up.as_ref())?;
    let launch = launch.optional(operands.small.units.as_ref())?;
    let launch = launch.optional(given.noise)?.optional(given.indices)?;
    let launch =
        launch.counts(s.first_ranks()).long(tokens).words(s.words()).words(s.noise_words());
    let launch = launch.float(s.scale);
    launch.wide_blocks(s.out, |_| tokens.div_ceil(TOKENS), THREADS as u32)?;
    Ok(Forward { y, kept, routed })
}

/// What [`grad`] returns.
pub struct Grad {
    /// Of `x U^T`.
    pub du: Tensor,
    /// Gated ranks `[tokens, ranks]`.
    pub hg: Option<Tensor>,
    planes: Option<Tensor>,
}

/// From the gradients of the result and of the scores; one launch.
pub fn grad(
    s: &Sizes,
    kept: &Tensor,
    small: &Small,
    given: &Given<'_>,
    (dy, dscores): (Option<&Tensor>, Option<&Tensor>),
) -> Result<Grad> {
    let (tokens, dtype) = (kept.dim(0)?, kept.dtype());
    let groups = tokens.div_ceil(TOKENS);
    let blocks = groups.div_ceil(groups.div_ceil(PLANES).max(1));
    let du = empty((tokens, s.kept()), dtype, kept)?;
    let hg = dy.map(|_| empty((tokens, s.ranks()), dtype, kept)).transpose()?;
    let planes = s.cosine.then(|| empty((blocks, s.plane()), DType::F32, kept)).transpose()?;
    let launch = Launch::of(kept.device(), GRAD, "routed_grad", dtype)?.tensor(&du)?;
    let launch = launch.optional(hg.as_ref())?.optional(planes.as_ref())?.optional(dy)?;
    let launch = launch.tensor(kept)?.optional(small.up.as_ref())?;
    let launch = launch.optional(small.units.as_ref())?.optional(dscores)?;
    let launch = launch.optional(given.noise)?.optional(given.indices)?;
    let launch =
        launch.counts(s.first_ranks()).long(tokens).words(s.words()).words(s.noise_words());
    launch.float(s.scale).wide_blocks(s.out, |_| blocks, THREADS as u32)?;
    Ok(Grad { du, hg, planes })
}

/// Gradients that a launch at the end gives.
#[derive(Default)]
pub struct Finished {
    /// Of each expert.
    pub ups: Vec<Tensor>,
    pub sim: Option<Tensor>,
    pub projection_bias: Option<Tensor>,
    pub temperature: Option<Tensor>,
}

/// From the gradient of all `up`, `[ranks, out]`, and the planes.
pub fn finish(
    s: &Sizes,
    up: Option<&Tensor>,
    grad: &Grad,
    small: &Small,
    temperature: Option<&Tensor>,
) -> Result<Finished> {
    let like = &grad.du;
    let ranks = s.firsts.last().copied().unwrap_or(0);
    let new = |n: usize| empty(n, DType::F32, like);
    let ups = up.map(|_| new(ranks * s.out)).transpose()?;
    let routers = match s.cosine {
        true => Some([new(s.p * s.experts)?, new(s.p)?, new(1)?]),
        false => None,
    };
    let launch = Launch::plain(like.device(), FINISH, "routed_finish")?.optional(ups.as_ref())?;
    let launch = (0..3).try_fold(launch, |l, i| l.optional(routers.as_ref().map(|r| &r[i])))?;
    let launch = launch.optional(up)?.optional(grad.planes.as_ref())?;
    let launch = launch.optional(small.units.as_ref())?.optional(temperature)?;
    let count = grad.planes.as_ref().map_or(Ok(0), |p| p.dim(0))?;
    let launch = launch.int(count).counts(s.first_ranks()).words(s.words()).float(s.limit);
    let entries = up.map_or(0, |_| s.ranks() * s.out);
    let blocks = s.by_expert() + entries.div_ceil(MANY);
    launch.blocks((blocks as u32, 1, 1), MANY as u32)?;
    let mut finished = Finished::default();
    if let Some(ups) = ups {
        let each = (0..s.firsts.len() - 1).map(|e| s.up(&ups, e));
        finished.ups = each.collect::<Result<_>>()?;
    }
    if let Some([sim, bias, temperature]) = routers {
        finished.sim = Some(sim.reshape((s.p, s.experts))?);
        finished.projection_bias = Some(bias);
        finished.temperature = Some(temperature);
    }
    Ok(finished)
}
