//! The router's projection of tokens. It and the layer that it routes for read the same
//! tokens and send gradients back to them, and share that work.

use crate::cpu::{Into, Read, Real, Threads, View, product};
use crate::cpu::{by_float, data, element, tensor, with_data};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, TensorId};
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

    fn take(&self) -> Option<Owed> {
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
    let fits = downs.is_none_or(|d| d.dims().len() == 2 && d.dims()[1] == width);
    if x.dims().last() != Some(&width) || bias.is_some_and(|b| b.dims() != [p]) || !fits {
        candle_core::bail!(
            "project: x {:?}, weight {:?} and bias {:?} do not fit",
            x.shape(),
            weight.shape(),
            bias.map(Tensor::shape)
        );
    }
    let inner = Inner { x: Some(x.id()), gathers: x.track_op(), ..Inner::default() };
    let shared = Shared(Arc::new(inner));
    let downs = downs.filter(|_| p <= NARROW && bias.is_none());
    let downs = downs.map(|d| d.detach().contiguous()).transpose()?;
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let op = Project { downs, shared: shared.clone() };
    let z = match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, op)?,
        None => x.apply_op2(&weight, op)?,
    };
    Ok((z, shared))
}

struct Project {
    downs: Option<Tensor>,
    shared: Shared,
}

impl Project {
    fn forward<T: Real>(&self, x: &[T], w: &[T], width: usize) -> Result<Vec<T>> {
        let (p, tokens) = (w.len() / width, x.len() / width);
        let Some(downs) = &self.downs else {
            return Ok(crate::linear::forward(x, w, None, p));
        };
        let (all, ranks) = ([w, &Read::new(downs)?].concat(), downs.dim(0)?);
        let terms = [(View::new(x, tokens, width), View::new(&all, p + ranks, width).t())];
        let both = product(Into::Set, &terms, Threads::All);
        let (mut z, mut h) = (Vec::with_capacity(tokens * p), Vec::with_capacity(tokens * ranks));
        for row in both.chunks_exact(p + ranks) {
            z.extend_from_slice(&row[..p]);
            h.extend_from_slice(&row[p..]);
        }
        self.shared.keep_ranks(downs.clone(), tensor(h, (tokens, ranks), downs)?);
        Ok(z)
    }

    fn backward(
        &self,
        x: &Tensor,
        w: &Tensor,
        dz: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (p, width) = w.dims2()?;
        let tokens = x.elem_count() / width.max(1);
        let owed = self.shared.take().unwrap_or_default();
        by_float!(x.dtype(), "project", T => with_data::<T, _>(dz, |dz| {
            let dz = View::new(dz, tokens, p);
            let mut dx = None;
            if x.track_op() {
                let w = Read::new(w)?;
                let start = owed.start.as_ref().map(Read::<T>::new).transpose()?;
                let read = |(a, b): &(Tensor, Tensor)| Ok((a.contiguous()?, b.contiguous()?));
                let owed = owed.terms.iter().map(read).collect::<Result<Vec<_>>>()?;
                let mut operands = Vec::with_capacity(owed.len());
                for (a, b) in &owed {
                    operands.push((Read::<T>::new(a)?, Read::<T>::new(b)?));
                }
                let mut terms = vec![(dz, View::new(&w, p, width))];
                for (a, b) in &operands {
                    let inner = b.len() / width;
                    terms.push((View::new(a, tokens, inner), View::new(b, inner, width)));
                }
                let into = start.as_deref().map_or(Into::Set, |start| Into::Over(start, None));
                dx = Some(tensor(product(into, &terms, Threads::All), x.shape(), x)?);
            }
            let mut dw = None;
            if w.track_op() {
                let x = Read::new(x)?;
                let terms = [(dz.t(), View::new(&x, tokens, width))];
                dw = Some(tensor(product(Into::Set, &terms, Threads::All), (p, width), w)?);
            }
            Ok((dx, dw))
        }))
    }
}

fn shape(lx: &Layout, lw: &Layout) -> Vec<usize> {
    let mut dims = lx.dims().to_vec();
    dims.pop();
    dims.push(lw.dims()[0]);
    dims
}

impl CustomOp2 for Project {
    fn name(&self) -> &'static str {
        "moa-project"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), "project", T => {
            let z = self.forward::<T>(data(x, lx)?, data(w, lw)?, lw.dims()[1])?;
            Ok(element(z, shape(lx, lw)))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _z: &Tensor,
        dz: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(x, w, dz)
    }
}

impl CustomOp3 for Project {
    fn name(&self) -> &'static str {
        "moa-project"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_float!(x.dtype(), "project", T => {
            let bias = data::<T>(b, lb)?;
            let z = crate::linear::forward(data(x, lx)?, data(w, lw)?, Some(bias), bias.len());
            Ok(element(z, shape(lx, lw)))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _z: &Tensor,
        dz: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.backward(x, w, dz)?;
        let db = b.track_op().then(|| crate::linear::sum_rows(dz, b)).transpose()?;
        Ok((dx, dw, db))
    }
}
