//! `grouped.cu` and `grouped_f32.cu`, on Metal one file: products of tokens and the matrices of
//! their experts, of which only the device knows how many tokens each has. With `MOA_GROUPED=0`
//! the library's products are used, expert by expert.

use super::launch::{Launch, empty};
use candle_core::{DType, Device, Result, Tensor};

const HALF: (&str, &str) = ("moa-grouped", super::ptx::GROUPED);
const SINGLE: (&str, &str) = ("moa-grouped-f32", super::ptx::GROUPED_F32);

/// Rows and columns of a block's result, and its threads.
fn block(device: &Device) -> (usize, u32) {
    if crate::metal::is(device) { (64, 128) } else { (128, 256) }
}

/// Tiles of rows, at most.
const MOST: usize = 65_535;

/// Tokens in the order of their experts: the token at each place, and the first place of each
/// expert.
pub struct Order<'a> {
    /// `[pairs]`
    pub tokens: &'a Tensor,
    /// `[experts + 1]`
    pub firsts: &'a Tensor,
}

/// Elements of 16 bytes.
fn wide(dtype: DType) -> usize {
    16 / dtype.size_in_bytes()
}

/// True if the kernels take rows of the type of `x` and matrices with such sides: of whole 16
/// bytes, and on CUDA half precision only with tensor cores that know bf16.
pub fn takes(x: &Tensor, sides: (usize, usize), pairs: usize, experts: usize) -> Result<bool> {
    let whole = |n: usize| n.is_multiple_of(wide(x.dtype()));
    let forbidden = std::env::var_os("MOA_GROUPED").is_some_and(|v| v == "0");
    let fits = !forbidden && super::runs(x) && whole(sides.0) && whole(sides.1);
    if !fits || pairs / block(x.device()).0 + experts > MOST || experts > super::experts::MOST {
        return Ok(false);
    }
    Ok(x.dtype() == DType::F32 || super::launch::compute_capability(x.device())? >= (8, 0))
}

impl Order<'_> {
    /// Rows of tokens, `[tokens, width]`, in order, each times the matrix of its expert,
    /// `[experts, width, out]`, which may be a transposed view.
    pub fn times(&self, from: &Tensor, matrices: &Tensor) -> Result<Tensor> {
        let (experts, width, out) = matrices.dims3()?;
        let (name, matrices) = match matrices.is_contiguous() {
            true => ("grouped_times", matrices.clone()),
            false => ("grouped_times_transposed", matrices.transpose(1, 2)?),
        };
        let pairs = self.tokens.elem_count();
        let to = empty((pairs, out), from.dtype(), from)?;
        let launch = launch(name, from)?.tensor(&to)?.tensor(&aligned(from)?)?;
        let launch = launch.tensor(&aligned(&matrices)?)?;
        let (tile, _) = block(from.device());
        let grid = (out.div_ceil(tile), pairs / tile + experts, 1);
        self.run(launch, (experts, width, out), grid)?;
        Ok(to)
    }

    /// For each expert, `a^T b` over its rows, `[experts, width, out]` `f32`: those of `a` are in
    /// order, those of `b` are the tokens'.
    pub fn outer(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (experts, width, out) = (self.firsts.elem_count() - 1, a.dim(1)?, b.dim(1)?);
        let to = empty((experts, width, out), DType::F32, a)?;
        let launch = launch("grouped_outer", a)?.tensor(&to)?;
        let launch = launch.tensor(&aligned(a)?)?.tensor(&aligned(b)?)?;
        let (tile, _) = block(a.device());
        let grid = (out.div_ceil(tile), width.div_ceil(tile), experts);
        self.run(launch, (experts, width, out), grid)?;
        Ok(to)
    }

    fn run(
        &self,
        launch: Launch,
        (experts, width, out): (usize, usize, usize),
        (x, y, z): (usize, usize, usize),
    ) -> Result<()> {
        let launch = launch.tensor(self.tokens)?.tensor(self.firsts)?;
        let launch = launch.int(experts).int(width).int(out);
        let (_, threads) = block(&launch.device);
        launch.blocks((x as u32, y as u32, z as u32), threads)
    }
}

fn launch(name: &str, like: &Tensor) -> Result<Launch> {
    let single = like.dtype() == DType::F32 && !crate::metal::is(like.device());
    let module = if single { SINGLE } else { HALF };
    Launch::of(like.device(), module, name, like.dtype())
}

/// Without gaps, and from a multiple of 16 bytes on.
fn aligned(t: &Tensor) -> Result<Tensor> {
    match t.layout().start_offset().is_multiple_of(wide(t.dtype())) {
        true => t.contiguous(),
        false => t.force_contiguous(),
    }
}
