//! `kronecker.cu`.

use super::kronecker::Sizes;
use super::launch::{Launch, TENSORS, empty};
use candle_core::{DType, Result, Tensor};

const MODULE: (&str, &str) = ("moa-kronecker", super::ptx::KRONECKER);
const THREADS: usize = 256;

/// The factors of a layer, all `f32`: `s` and `v`, then `left` and `right` of each expert.
pub struct Factors<'a> {
    pub s: &'a Tensor,
    pub v: &'a Tensor,
    pub experts: &'a [(Tensor, Tensor)],
    pub sizes: Sizes,
}

impl Factors<'_> {
    /// True if the kernels take them.
    pub fn fit(&self) -> bool {
        let takes = super::run_of_cuda(self.s) && self.s.dtype() == DType::F32;
        takes && self.experts.len() <= TENSORS
    }

    fn rank(&self, e: usize) -> usize {
        self.experts[e].0.dims()[2]
    }

    fn add(&self, launch: Launch) -> Result<Launch> {
        let (experts, t, a, b) = self.sizes;
        let launch = launch.tensor(self.s)?.tensor(self.v)?;
        let launch = launch.table(self.experts.iter().map(|(left, _)| left))?;
        let launch = launch.table(self.experts.iter().map(|(_, right)| right))?;
        let launch = launch.counts((0..experts).map(|e| self.rank(e)));
        Ok(launch.quad([experts, t, a, b].map(|v| v as u32)))
    }

    /// Rows `s_i v_i`, `[t, t^2]`, and `L_ei R_ei` of all experts, `[t, E a b]`.
    pub fn products(&self) -> Result<(Tensor, Tensor)> {
        let (experts, t, a, b) = self.sizes;
        let outer = empty((t, t * t), DType::F32, self.s)?;
        let inner = empty((t, experts * a * b), DType::F32, self.s)?;
        let count = outer.elem_count() + inner.elem_count();
        let launch = Launch::plain(self.s.device(), MODULE, "kronecker_factors")?;
        self.add(launch.tensor(&outer)?.tensor(&inner)?)?.threads(count, 1)?;
        Ok((outer, inner))
    }

    /// The gradients of all factors, in order, from those of the products.
    pub fn grads(&self, douter: &Tensor, dinner: &Tensor) -> Result<Vec<Tensor>> {
        let like = |t: &Tensor| empty(t.shape().clone(), DType::F32, t);
        let (ds, dv) = (like(self.s)?, like(self.v)?);
        let pairs = self.experts.iter().map(|(l, r)| Ok((like(l)?, like(r)?)));
        let pairs = pairs.collect::<Result<Vec<_>>>()?;
        let launch = Launch::plain(self.s.device(), MODULE, "kronecker_factor_grads")?;
        let launch = launch.tensor(&ds)?.tensor(&dv)?.table(pairs.iter().map(|(l, _)| l))?;
        let launch = launch.table(pairs.iter().map(|(_, r)| r))?.tensor(douter)?.tensor(dinner)?;
        let lefts: usize = self.experts.iter().map(|(l, _)| l.elem_count()).sum();
        let rights: usize = self.experts.iter().map(|(_, r)| r.elem_count()).sum();
        let square = ds.elem_count();
        let warps = (square + lefts).div_ceil(THREADS / 32);
        let blocks = warps + (square + rights).div_ceil(THREADS);
        self.add(launch)?.int(warps).blocks((blocks as u32, 1, 1), THREADS as u32)?;
        let pairs = pairs.into_iter().flat_map(|(l, r)| [l, r]);
        Ok([ds, dv].into_iter().chain(pairs).collect())
    }
}
