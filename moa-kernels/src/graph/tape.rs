//! Gradients by a list of what was done, instead of candle's graph.
//!
//! candle's backward pass begins the gradient of every tensor with zeros and adds to it, which
//! for a transformer's activations is as much work as some of its layers. While a [`Tape`]
//! is there, operations of this crate are written to it; their results are leaves to
//! candle, so that only what lies between them (a reshape, a concatenation) is candle's.

use super::held::Again;
use super::node::node;
use crate::residual;
use candle_core::{DType, Result, Tensor, TensorId, backprop::GradStore};
use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

/// From the gradient of the result to those of the arguments.
pub type Backward = Box<dyn Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync>;

struct Record {
    result: TensorId,
    args: Vec<Arg>,
    backward: Backward,
}

/// Where the gradient of an argument goes. Only what candle computed is kept for that.
enum Arg {
    /// Nowhere.
    Untracked,
    /// To a variable, or the result of an operation on the tape.
    Leaf(TensorId),
    /// Through candle's graph.
    Graph(Tensor),
}

impl Arg {
    fn of(t: &Tensor) -> Self {
        match (t.is_variable(), t.track_op()) {
            (true, _) => Self::Leaf(t.id()),
            (false, true) => Self::Graph(t.clone()),
            (false, false) => Self::Untracked,
        }
    }
}

#[derive(Default)]
struct Records {
    all: Vec<Record>,
    /// Results that are computed once more.
    again: HashMap<TensorId, Arc<Again>>,
}

thread_local! {
    static RECORDS: RefCell<Option<Records>> = const { RefCell::new(None) };
}

/// Records the operations of this thread until it is used or dropped.
///
/// A tensor made meanwhile has no gradient by candle's own `backward`.
pub struct Tape(PhantomData<*const ()>);

impl Tape {
    /// Begins to record.
    ///
    /// # Errors
    /// If this thread records already.
    pub fn start() -> Result<Self> {
        RECORDS.with_borrow_mut(|records| match records {
            Some(_) => candle_core::bail!("a tape is running already"),
            None => {
                *records = Some(Records::default());
                Ok(Self(PhantomData))
            }
        })
    }

    /// The gradients of the variables that `loss`, a scalar, was computed from.
    ///
    /// # Errors
    /// If an operation's backward pass fails.
    pub fn backward(self, loss: &Tensor) -> Result<GradStore> {
        let records = RECORDS.with_borrow_mut(Option::take).unwrap_or_default();
        let mut sums = Sums::default();
        sums.through(loss, None)?;
        drop(records.again); // now only with those who read them
        for Record { result, args, backward } in records.all.into_iter().rev() {
            let Some(dy) = sums.0.remove(&result) else { continue };
            for (arg, gradient) in args.iter().zip(backward(&dy.contiguous()?)?) {
                match (arg, gradient) {
                    (Arg::Leaf(id), Some(gradient)) => sums.add(*id, gradient.detach())?,
                    (Arg::Graph(t), Some(gradient)) => sums.through(t, Some(gradient))?,
                    _ => {}
                }
            }
        }
        let mut grads = GradStore::default();
        for (id, sum) in sums.0 {
            grads.insert_id(id, sum);
        }
        Ok(grads)
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        RECORDS.with_borrow_mut(|records| *records = None);
    }
}

/// True while this thread has a tape.
pub fn records() -> bool {
    RECORDS.with_borrow(Option::is_some)
}

/// Writes an operation down.
pub fn record(result: &Tensor, args: &[&Tensor], backward: Backward) {
    let args = args.iter().map(|t| Arg::of(t)).collect();
    RECORDS.with_borrow_mut(|records| {
        if let Some(records) = records {
            records.all.push(Record { result: result.id(), args, backward });
        }
    });
}

/// Says how to compute a result once more.
pub fn make_again(result: TensorId, again: Again) {
    RECORDS.with_borrow_mut(|records| {
        if let Some(records) = records {
            records.again.insert(result, Arc::new(again));
        }
    });
}

/// How to compute a result once more, if that is known.
pub fn again(result: TensorId) -> Option<Arc<Again>> {
    RECORDS.with_borrow(|records| records.as_ref()?.again.get(&result).cloned())
}

/// Gradients so far.
#[derive(Default)]
struct Sums(HashMap<TensorId, Tensor>);

impl Sums {
    fn add(&mut self, id: TensorId, gradient: Tensor) -> Result<()> {
        let sum = match self.0.remove(&id) {
            Some(before) => add(&before, &gradient)?,
            None => gradient,
        };
        self.0.insert(id, sum);
        Ok(())
    }

    /// Adds what candle's graph behind `t` does to its gradient, of 1 if it is not given.
    fn through(&mut self, t: &Tensor, gradient: Option<Tensor>) -> Result<()> {
        let end = match gradient {
            None => t.clone(),
            Some(gradient) => {
                let zero = Tensor::zeros((), t.dtype(), t.device())?;
                let given = move |_: &Tensor| Ok(vec![Some(gradient.clone())]);
                node("moa-gradient", zero, &[t], Box::new(given))?
            }
        };
        let mut grads = end.backward()?;
        for leaf in end.sorted_nodes().into_iter().filter(|t| t.is_variable()) {
            if let Some(gradient) = grads.remove(leaf) {
                self.add(leaf.id(), gradient.detach())?;
            }
        }
        Ok(())
    }
}

fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if crate::kernels::runs(a) && a.dtype() == b.dtype() {
        return crate::kernels::residual::forward(a, b, None, None);
    }
    let alike = a.dims() == b.dims() && a.dtype() == b.dtype();
    let ours = alike && a.device().is_cpu() && !crate::by_tensors(a);
    if ours && matches!(a.dtype(), DType::F32 | DType::F64) {
        return residual::plain(a, &b.contiguous()?, None); // candle has threads of its own
    }
    a + b
}
