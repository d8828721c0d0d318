//! Whole frozen parts of a transformer block, each as one operation.
//!
//! Composed of single operations, a block keeps every value on its way for the
//! backward pass: candle holds the arguments of all of them. Where nothing trains,
//! a gradient needs few of these: here a part keeps its input (which the residual
//! stream keeps anyway) and computes the rest again, rows of tokens at a time.
//!
//! | operation | what it keeps |
//! |---|---|
//! | [`norm_linear`] | `x` |
//! | [`stretch`] | the input and qkv of each half and, unless told otherwise, what goes into the activation |
//!
//! A stretch also hands the gradient of the residual stream from half to half in place,
//! where candle would add up tensors.

mod attention;
mod mlp;
mod norm_linear;
mod stretch;

pub use attention::Attention;
pub use mlp::Mlp;
pub use norm_linear::norm_linear;
pub use stretch::{Half, stretch};

use crate::cpu::{Into, Read, Real, View};
use crate::panels::{self, Weight};
use candle_core::{Result, Tensor};

/// Tokens whose intermediate values are in memory at once.
const ROWS: usize = 2048;

/// A frozen layer normalisation.
#[derive(Clone, Debug)]
pub struct Norm {
    /// `[d]`
    pub weight: Tensor,
    /// `[d]`
    pub bias: Tensor,
    /// Added to the variance.
    pub eps: f64,
}

/// A frozen linear layer.
#[derive(Clone, Debug)]
pub struct Dense {
    /// `[out, in]` or [in panels](crate::panels)
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
}

impl Norm {
    fn check(&self, name: &str, width: usize) -> Result<()> {
        if self.weight.dims() != [width] || self.bias.dims() != [width] || width == 0 {
            candle_core::bail!("{name}: a norm of {:?} for width {width}", self.weight.shape());
        }
        Ok(())
    }

    fn read<T: Real>(&self) -> Result<NormData<'_, T>> {
        Ok(NormData {
            weight: Read::new(&self.weight)?,
            bias: Read::new(&self.bias)?,
            eps: self.eps,
        })
    }
}

impl Dense {
    fn check(&self, name: &str, width: usize, out: Option<usize>) -> Result<usize> {
        let (rows, cols) = panels::sizes(&self.weight)?;
        let bias = self.bias.as_ref().is_none_or(|b| b.dims() == [rows]);
        if cols != width || out.is_some_and(|out| out != rows) || !bias {
            let (weight, bias) = (self.weight.shape(), self.bias.as_ref().map(Tensor::shape));
            candle_core::bail!("{name}: weight {weight:?} and bias {bias:?} for width {width}");
        }
        Ok(rows)
    }

    fn read<T: Real>(&self) -> Result<DenseData<'_, T>> {
        let bias = self.bias.as_ref().map(Read::new).transpose()?;
        let (weight, dims) = (Read::new(&self.weight)?, self.weight.dims());
        Ok(DenseData { weight, dims, bias, out: panels::rows_of(dims) })
    }
}

struct NormData<'a, T> {
    weight: Read<'a, T>,
    bias: Read<'a, T>,
    eps: f64,
}

impl<T: Real> NormData<'_, T> {
    fn forward(&self, x: &[T]) -> Vec<T> {
        crate::layer_norm::normalise(x, &self.weight, &self.bias, self.eps)
    }

    /// Adds the gradient of the input to `dx`.
    fn backward(&self, x: &[T], dy: &[T], dx: &mut [T]) {
        crate::layer_norm::add_input_grad(dx, x, &self.weight, dy, self.eps);
    }
}

struct DenseData<'a, T> {
    weight: Read<'a, T>,
    dims: &'a [usize],
    bias: Option<Read<'a, T>>,
    out: usize,
}

impl<T: Real> DenseData<'_, T> {
    fn weight(&self) -> Weight<'_, T> {
        Weight::new(&self.weight, self.dims)
    }

    fn forward(&self, x: View<'_, T>, y: &mut [T]) {
        let into = self.bias.as_deref().map_or(Into::Set, Into::Rows);
        crate::linear::forward_into(y, x, self.weight(), into);
    }

    /// `y = stream + gamma * linear(x)`; without `gamma`, of 1.
    fn branch(&self, stream: &[T], x: View<'_, T>, gamma: Option<&[T]>, y: &mut [T]) {
        if gamma.is_some() {
            self.forward(x, y);
            return crate::residual::add_onto(y, stream, gamma);
        }
        let into = Into::Over(stream, self.bias.as_deref());
        crate::linear::forward_into(y, x, self.weight(), into);
    }

    fn backward(&self, dy: View<'_, T>) -> Vec<T> {
        crate::linear::input_grad(dy, &self.weight().rows())
    }
}
