//! Products of ordered rows and the matrix of their expert, one expert after another.

use crate::kernels::{gemm, run_of_cuda};
use candle_core::{Result, Tensor};

/// The first place of each expert, and the number of pairs.
pub struct Spans<'a>(pub &'a [usize]);

impl Spans<'_> {
    /// Every expert with its first place and the number of its pairs.
    fn each(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.0.windows(2).enumerate().map(|(e, pair)| (e, pair[0], pair[1] - pair[0]))
    }

    /// Rows `[pairs, in]`, each times the matrix of its expert, `[experts, in, out]`.
    pub fn times(&self, rows: &Tensor, matrices: &Tensor) -> Result<Tensor> {
        if run_of_cuda(rows) {
            let to = gemm::room((rows.dim(0)?, matrices.dim(2)?), rows)?;
            for (e, first, n) in self.each() {
                let (part, rows) = (to.narrow(0, first, n)?, rows.narrow(0, first, n)?);
                gemm::fill(&part, &rows, &matrices.narrow(0, e, 1)?.squeeze(0)?)?;
            }
            return Ok(to);
        }
        let one = |(e, first, n)| rows.narrow(0, first, n)?.matmul(&matrices.get(e)?);
        let parts = self.each().filter(|(_, _, n)| *n > 0).map(one);
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }

    /// For each expert, `a^T b` over its rows, `[experts, in, out]`.
    pub fn outer(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (width, out) = (a.dim(1)?, b.dim(1)?);
        if run_of_cuda(a) && self.each().all(|(_, _, n)| n > 0) {
            let to = gemm::room((self.0.len() - 1, width, out), a)?;
            for (e, first, n) in self.each() {
                let (a, b) = (a.narrow(0, first, n)?, b.narrow(0, first, n)?);
                gemm::fill(&to.narrow(0, e, 1)?.squeeze(0)?, &a.t()?, &b)?;
            }
            return Ok(to);
        }
        let one = |(_, first, n)| match n {
            0 => Tensor::zeros((width, out), a.dtype(), a.device()),
            _ => a.narrow(0, first, n)?.t()?.matmul(&b.narrow(0, first, n)?),
        };
        Tensor::stack(&self.each().map(one).collect::<Result<Vec<_>>>()?, 0)
    }
}
