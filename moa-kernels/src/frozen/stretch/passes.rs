//! Both ways through the halves.

use super::Half;
use crate::attention::Sizes;
use crate::cpu::{Read, Real, copied};
use candle_core::{Device, Result, Tensor};
use std::sync::Mutex;

/// The operation on halves that fit.
pub struct Stretch {
    halves: Vec<Half>,
    /// Of `x`.
    pub(super) dims: [usize; 3],
    /// Whether a backward pass may follow.
    pub(super) keeps: bool,
    /// Until the backward pass; computed again in any further one.
    pub(super) kept: Mutex<Option<Vec<Kept>>>,
}

/// What a half's backward pass needs.
#[derive(Default)]
pub struct Kept {
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
    pub(super) fn new(halves: Vec<Half>, dims: [usize; 3], keeps: bool) -> Self {
        Self { halves, dims, keeps, kept: Mutex::new(None) }
    }

    /// Images, tokens and width behind each half, from those of `x` on.
    pub(super) fn dims(&self) -> Vec<[usize; 3]> {
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

    pub(super) fn forward<T: Real>(
        &self,
        x: &[T],
        qkv: Option<&[T]>,
    ) -> Result<(Vec<T>, Vec<Kept>)> {
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
    pub(super) fn backward<T: Real>(
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
        let (mut dx, mut dqkv) = (copied(dy), None);
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
}
