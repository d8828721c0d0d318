//! Frozen halves of blocks, one after the other, as one operation.

use super::{Attention, Mlp};
use crate::attention::Sizes;
use crate::cpu::{Read, Real, by_float, data, element, tensor};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Layout, Result, Shape, Tensor};
use std::sync::Mutex;

/// Half of a transformer block, all of it frozen.
#[derive(Clone, Debug)]
pub enum Half {
    /// The first.
    Attention(Attention),
    /// The second.
    Mlp(Mlp),
}

/// Passes the residual stream through `halves`. The first may be an attention whose qkv
/// is given.
///
/// # Shapes
/// `x` `[b, n, d]`, `qkv` `[b, n, 3 d]` as in [`crate::attention::attention`]; the
/// result is `[b, n, d]`, or of fewer tokens if a half wants only those.
///
/// # Errors
/// If the shapes do not fit, qkv is given and not used or the other way round, or the
/// type is neither `f32` nor `f64`.
pub fn stretch(x: &Tensor, qkv: Option<&Tensor>, halves: Vec<Half>) -> Result<Tensor> {
    let (b, n, d) = x.dims3()?;
    for (i, half) in halves.iter().enumerate() {
        match half {
            Half::Attention(half) => {
                half.check(d)?;
                if half.qkv.is_none() != (i == 0 && qkv.is_some()) {
                    candle_core::bail!("stretch: qkv of half {i} is not there, or there twice");
                }
            }
            Half::Mlp(half) => half.check(d)?,
        }
    }
    let unused = qkv.is_some() && !matches!(halves.first(), Some(Half::Attention(_)));
    if unused || qkv.is_some_and(|qkv| qkv.dims() != [b, n, 3 * d]) {
        candle_core::bail!("stretch: qkv {:?} does not fit", qkv.map(Tensor::shape));
    }
    if crate::by_tensors(x) {
        return crate::device::stretch::stretch(x, qkv, halves);
    }
    let keeps = x.track_op() || qkv.is_some_and(Tensor::track_op);
    let op = Stretch { halves, dims: [b, n, d], keeps, kept: Mutex::new(None) };
    match qkv {
        Some(qkv) => crate::graph::apply2(&x.contiguous()?, &qkv.contiguous()?, op),
        None => crate::graph::apply1(&x.contiguous()?, op),
    }
}

struct Stretch {
    halves: Vec<Half>,
    /// Of `x`.
    dims: [usize; 3],
    keeps: bool,
    /// Until the backward pass; computed again in any further one.
    kept: Mutex<Option<Vec<Kept>>>,
}

/// What a half's backward pass needs.
#[derive(Default)]
struct Kept {
    /// Its input, unless it is the stretch's own.
    x: Option<Tensor>,
    /// qkv, unless given, or what goes into the activation, unless recomputed.
    inner: Option<Tensor>,
}

fn keep<T: Real>(values: Option<Vec<T>>) -> Result<Option<Tensor>> {
    let tensor = |values: Vec<T>| {
        let len = values.len();
        Tensor::from_vec(values, len, &Device::Cpu)
    };
    values.map(tensor).transpose()
}

impl Stretch {
    /// Images, tokens and width behind each half, from those of `x` on.
    fn dims(&self) -> Vec<[usize; 3]> {
        let mut dims = vec![self.dims];
        let mut last = self.dims;
        for half in &self.halves {
            if let Half::Attention(half) = half {
                last[1] = half.sizes(last).queries;
            }
            dims.push(last);
        }
        dims
    }

    fn forward<T: Real>(&self, x: &[T], qkv: Option<&[T]>) -> Result<(Vec<T>, Vec<Kept>)> {
        let mut kept: Vec<Kept> = Vec::new();
        let mut last: Option<Vec<T>> = None;
        for (half, dims) in self.halves.iter().zip(self.dims()) {
            let input = last.as_deref().unwrap_or(x);
            let (y, inner) = match half {
                Half::Attention(half) => {
                    let own = half.project(input)?;
                    let from = own.as_deref().or(qkv).unwrap_or(&[]);
                    (half.forward(input, from, half.sizes(dims))?, own)
                }
                Half::Mlp(half) => half.forward(input, self.keeps)?,
            };
            let input = last.replace(y);
            if self.keeps {
                kept.push(Kept { x: keep(input)?, inner: keep(inner)? });
            }
        }
        Ok((last.unwrap_or_else(|| x.to_vec()), kept))
    }

    /// Gradients of `x` and of qkv if given.
    fn backward<T: Real>(
        &self,
        x: &[T],
        qkv: Option<&[T]>,
        dy: &[T],
    ) -> Result<(Vec<T>, Option<Vec<T>>)> {
        let kept = self.kept.lock().unwrap_or_else(|e| e.into_inner()).take();
        let mut kept = match kept {
            Some(kept) => kept,
            None => self.forward(x, qkv)?.1,
        };
        let (mut dx, mut dqkv) = (dy.to_vec(), None);
        for (half, dims) in self.halves.iter().zip(self.dims()).rev() {
            let Kept { x: input, inner } = kept.pop().unwrap_or_default();
            let (input, inner) =
                (Read::<T>::optional(input.as_ref())?, Read::optional(inner.as_ref())?);
            let (input, inner) = (input.as_deref().unwrap_or(x), inner.as_deref());
            match half {
                Half::Attention(half) => {
                    let (from, sizes): (_, Sizes) =
                        (inner.or(qkv).unwrap_or(&[]), half.sizes(dims));
                    dqkv = half.backward(input, from, &mut dx, sizes)?;
                }
                Half::Mlp(half) => half.backward(input, inner, &mut dx)?,
            }
        }
        Ok((dx, dqkv))
    }

    fn run<T: Real>(&self, x: &[T], qkv: Option<&[T]>) -> Result<(CpuStorage, Shape)> {
        let (y, kept) = self.forward(x, qkv)?;
        if self.keeps {
            *self.kept.lock().unwrap_or_else(|e| e.into_inner()) = Some(kept);
        }
        let dims = self.dims().pop().unwrap_or(self.dims);
        Ok(element(y, dims.to_vec()))
    }
}

impl CustomOp1 for Stretch {
    fn name(&self) -> &'static str {
        "moa-stretch"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), "stretch", T => self.run::<T>(data(x, layout)?, None))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        by_float!(x.dtype(), "stretch", T => {
            let (dx, _) = self.backward::<T>(&Read::new(x)?, None, &Read::new(&dy)?)?;
            Ok(Some(tensor(dx, x.shape(), x)?))
        })
    }
}

impl CustomOp2 for Stretch {
    fn name(&self) -> &'static str {
        "moa-stretch"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        qkv: &CpuStorage,
        lq: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), "stretch", T => self.run::<T>(data(x, lx)?, Some(data(qkv, lq)?)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        qkv: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        by_float!(x.dtype(), "stretch", T => {
            let given = Read::new(qkv)?;
            let (dx, dqkv) = self.backward::<T>(&Read::new(x)?, Some(&given), &Read::new(&dy)?)?;
            let dx = x.track_op().then(|| tensor(dx, x.shape(), x)).transpose()?;
            let dqkv = dqkv.filter(|_| qkv.track_op());
            Ok((dx, dqkv.map(|d| tensor(d, qkv.shape(), qkv)).transpose()?))
        })
    }
}
