//! Updates of Adam (Kingma and Ba 2015; PyTorch `torch.optim.Adam` and `AdamW`), a single pass
//! over each tensor, and the norms of gradients.

use crate::cpu::{Real, by_float, tensor, unset, vectorise, with_data};
use candle_core::{DType, Device, Result, Tensor, Var};
use rayon::prelude::*;

/// Elements per task, about.
const CHUNK: usize = 8192;

/// The numbers of one update, the same for all tensors.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// Learning rate.
    pub lr: f64,
    /// How much of the first moment stays.
    pub beta1: f64,
    /// How much of the second moment stays.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// The decay acts on the value (AdamW) instead of the gradient.
    pub decoupled: bool,
    /// Updates before this one.
    pub done: u64,
}

/// The factors that a pass over elements needs.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// On the gradient.
    pub decay: f64,
    /// Of the value that stays.
    pub stays: f64,
    /// The learning rate over the correction of the first moment.
    pub rate: f64,
    /// One over the root of the correction of the second.
    pub root: f64,
}

impl Update {
    fn factors(&self) -> Factors {
        let steps = self.done as f64 + 1.0;
        let decay = |on: bool| if on { self.weight_decay } else { 0.0 };
        Factors {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            decay: decay(!self.decoupled),
            stays: 1.0 - self.lr * decay(self.decoupled),
            rate: self.lr / (1.0 - self.beta1.powf(steps)),
            root: 1.0 / (1.0 - self.beta2.powf(steps)).sqrt(),
        }
    }

    /// Updates tensors and their moments. On a device with kernels this happens where they are: what
    /// shares their memory changes, too.
    ///
    /// # Errors
    /// If the shapes or types of one differ.
    pub fn apply(&self, items: &mut [Item<'_>]) -> Result<()> {
        for Item { value, gradient, m, v } in items.iter() {
            let all = [value.as_tensor(), gradient, m, v];
            if all.iter().any(|t| t.dims() != value.dims() || t.dtype() != value.dtype()) {
                candle_core::bail!("adam: {:?} do not fit", all.map(Tensor::shape));
            }
        }
        let factors = self.factors();
        if items.first().is_some_and(|item| crate::kernels::runs(item.value)) {
            return crate::kernels::adam::apply(factors, items);
        }
        for item in items {
            let value = item.value.as_detached_tensor();
            let (value, m, v) = updated(factors, [&value, item.gradient, item.m, item.v])?;
            item.value.set(&value)?;
            (*item.m, *item.v) = (m, v);
        }
        Ok(())
    }
}

/// A tensor to update.
pub struct Item<'a> {
    /// What trains.
    pub value: &'a Var,
    /// Its gradient.
    pub gradient: &'a Tensor,
    /// The first moment.
    pub m: &'a mut Tensor,
    /// The second moment.
    pub v: &'a mut Tensor,
}

/// The sum of squares of each tensor, in one transfer from the device.
///
/// # Errors
/// Only if the device fails.
pub fn squares(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    if tensors.is_empty() {
        return Ok(Vec::new());
    }
    if tensors.iter().all(|t| crate::kernels::runs(t) && t.dtype() == DType::F32) {
        return crate::kernels::adam::squares(tensors);
    }
    let square = |t: &&Tensor| in_double(t)?.sqr()?.sum_all();
    Tensor::stack(&tensors.iter().map(square).collect::<Result<Vec<_>>>()?, 0)?.to_vec1()
}

/// With `f64`, on the CPU where the device has none.
fn in_double(t: &Tensor) -> Result<Tensor> {
    match t.device().is_metal() {
        true => t.to_device(&Device::Cpu)?.to_dtype(DType::F64),
        false => t.to_dtype(DType::F64),
    }
}

/// The new value, first and second moment.
fn updated(factors: Factors, all: [&Tensor; 4]) -> Result<(Tensor, Tensor, Tensor)> {
    let [value, gradient, m, v] = all;
    if crate::by_tensors(value) {
        return by_tensors(factors, all);
    }
    by_float!(value.dtype(), "adam", T => with_data::<T, _>(value, |x| {
        with_data::<T, _>(gradient, |g| with_data(m, |m| with_data(v, |v| {
            let [x, m, v] = pass(factors, g, [x, m, v]).map(|t| tensor(t, value.shape(), value));
            Ok((x?, m?, v?))
        })))
    }))
}

/// The new value and moments from the old.
fn pass<T: Real>(factors: Factors, g: &[T], old: [&[T]; 3]) -> [Vec<T>; 3] {
    let Factors { beta1, beta2, eps, decay, stays, rate, root } = factors;
    let [b1, b2, eps, decay, stays, rate, root] =
        [beta1, beta2, eps, decay, stays, rate, root].map(T::from_f64);
    let [a1, a2] = [1.0 - beta1, 1.0 - beta2].map(T::from_f64);
    let [mut x, mut m, mut v] = old.map(|t| unset(t.len()));
    let chunks = x.par_chunks_mut(CHUNK).zip(m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK)));
    chunks.zip(g.par_chunks(CHUNK)).enumerate().for_each(|(i, ((x, (m, v)), g))| {
        for (to, from) in [&mut *x, &mut *m, &mut *v].into_iter().zip(old) {
            to.copy_from_slice(&from[i * CHUNK..][..g.len()]);
        }
        vectorise!({
            for (((x, &g), m), v) in x.iter_mut().zip(g).zip(m.iter_mut()).zip(v.iter_mut()) {
                let g = g + *x * decay;
                *m = *m * b1 + g * a1;
                *v = *v * b2 + g * g * a2;
                *x = *x * stays - *m / ((*v).root() * root + eps) * rate;
            }
        });
    });
    [x, m, v]
}

fn by_tensors(
    f: Factors,
    [value, gradient, m, v]: [&Tensor; 4],
) -> Result<(Tensor, Tensor, Tensor)> {
    let gradient = (gradient + (value * f.decay)?)?;
    let m = ((m * f.beta1)? + (&gradient * (1.0 - f.beta1))?)?;
    let v = ((v * f.beta2)? + (gradient.sqr()? * (1.0 - f.beta2))?)?;
    let update = (m.div(&((v.sqrt()? * f.root)? + f.eps)?)? * f.rate)?;
    let value = ((value * f.stays)? - update)?;
    Ok((value, m, v))
}
