//! The router's projection of tokens. It and the layer that it routes for read the same
//! tokens and send gradients back to them, and share that work.

use crate::cpu::tensor;
use crate::cpu::{Into, Read, Real, Threads, View, product};
use crate::linear::Linear;
use crate::panels::Weight;
use candle_core::{Result, Tensor, TensorId};
use std::sync::{Arc, Mutex, OnceLock};

/// Outputs up to which the experts' ranks are computed in the same product.
const NARROW: usize = 32;

/// What a projection and the routed layer behind it do for each other.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The tokens.
    x: Option<TensorId>,
    /// The experts' `down` side by side, `[R, in]`, and `x down^T`, `[tokens, R]`.
    ranks: OnceLock<(Tensor, Tensor)>,
    /// The projection wants the layer's part of the gradient of the tokens.
    gathers: bool,
    owed: Mutex<Option<Owed>>,
}

/// The layer's part of the gradient of the tokens: `start` plus a sum of products.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    pub start: Option<Tensor>,
    pub terms: Vec<(Tensor, Tensor)>,
}

impl Shared {
    /// What a layer of the tokens `x` shares: nothing if the projection was of others.
    pub(crate) fn of(&self, x: &Tensor) -> Self {
        if self.0.x == Some(x.id()) { self.clone() } else { Self::default() }
    }

    /// `x down^T`, if it is known for these `down`.
    pub(crate) fn ranks<T: Real>(&self, downs: &[T]) -> Option<Vec<T>> {
        let (known, ranks) = self.0.ranks.get()?;
        let same = *Read::<T>::new(known).ok()? == *downs;
        same.then(|| Read::new(ranks).ok().map(|ranks| ranks.to_vec()))?
    }

    pub(crate) fn keep_ranks(&self, downs: Tensor, ranks: Tensor) {
        let _ = self.0.ranks.set((downs, ranks)); // the first are as good
    }

    pub(crate) fn gathers(&self) -> bool {
        self.0.gathers
    }

    /// Leaves the layer's part; the projection's backward pass, which comes later, takes it.
    pub(crate) fn owe(&self, owed: Owed) {
        *self.0.owed.lock().unwrap_or_else(|e| e.into_inner()) = Some(owed);
    }

    pub(crate) fn take(&self) -> Option<Owed> {
        self.0.owed.lock().unwrap_or_else(|e| e.into_inner()).take()
    }
}

/// `x weight^T + bias`, and what the routed layer of the same `x` takes with the scores
/// ([`crate::routing::Routing::sharing`]). `downs` are the experts' side by side, if LoRA.
///
/// # Shapes
/// `x` `[..., in]`, `weight` `[p, in]`, `bias` `[p]`, `downs` `[R, in]`; the result is
/// `[..., p]`.
///
/// # Errors
/// If the shapes do not fit or the type is neither `f32` nor `f64`.
pub fn project(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    downs: Option<&Tensor>,
) -> Result<(Tensor, Shared)> {
    let (p, width) = weight.dims2()?;
    if downs.is_some_and(|d| d.dims().len() != 2 || d.dims()[1] != width) {
        candle_core::bail!("project: downs {:?} of width {width}", downs.map(Tensor::shape));
    }
    // Of a view each operation has a copy of its own, which must get a gradient.
    let gathers = x.track_op() && x.is_contiguous();
    let inner = Inner { x: Some(x.id()), gathers, ..Inner::default() };
    let shared = Shared(Arc::new(inner));
    let downs = downs.filter(|_| p <= NARROW && bias.is_none());
    let downs = downs.map(|d| d.detach().contiguous()).transpose()?;
    let z = crate::linear::apply(x, weight, bias, Linear { downs, shared: shared.clone() })?;
    Ok((z, shared))
}

/// `x w^T` and, in the same pass over `x`, `x downs^T`, which `shared` keeps.
pub(crate) fn forward_joint<T: Real>(
    x: &[T],
    w: &[T],
    downs: &Tensor,
    shared: &Shared,
) -> Result<Vec<T>> {
    let (ranks, width) = downs.dims2()?;
    let (p, tokens) = (w.len() / width, x.len() / width);
    let all = [w, &Read::new(downs)?].concat();
    let both = crate::linear::forward(x, Weight::new(&all, &[p + ranks, width]), None);
    let (mut z, mut h) = (Vec::with_capacity(tokens * p), Vec::with_capacity(tokens * ranks));
    for row in both.chunks_exact(p + ranks) {
        z.extend_from_slice(&row[..p]);
        h.extend_from_slice(&row[p..]);
    }
    shared.keep_ranks(downs.clone(), tensor(h, (tokens, ranks), downs)?);
    Ok(z)
}

/// `dz w`, `[tokens, width]`, plus what is owed.
pub(crate) fn gathered<T: Real>(
    dz: View<'_, T>,
    w: View<'_, T>,
    (tokens, width): (usize, usize),
    owed: &Owed,
) -> Result<Vec<T>> {
    let start = owed.start.as_ref().map(Read::<T>::new).transpose()?;
    let whole = |(a, b): &(Tensor, Tensor)| Ok((a.contiguous()?, b.contiguous()?));
    let pairs = owed.terms.iter().map(whole).collect::<Result<Vec<_>>>()?;
    let read = |(a, b)| Ok((Read::<T>::new(a)?, Read::<T>::new(b)?));
    let pairs = pairs.iter().map(|(a, b)| read((a, b))).collect::<Result<Vec<_>>>()?;
    let mut terms = vec![(dz, w)];
    terms.extend(pairs.iter().map(|(a, b)| {
        let inner = b.len() / width;
        (View::new(a, tokens, inner), View::new(b, inner, width))
    }));
    let into = start.as_deref().map_or(Into::Set, |start| Into::Over(start, None));
    Ok(product(into, &terms, Threads::All))
}
