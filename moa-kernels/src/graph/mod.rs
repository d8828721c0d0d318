//! Operations in candle's graph, or on a [`Tape`].

mod held;
mod node;
mod tape;

pub use tape::Tape;

use candle_core::op::BackpropOp;
use candle_core::{CustomOp1, CustomOp2, CustomOp3, Result, Shape, Storage, Tensor};
use held::{Again, Held};
use tape::{Backward, record, records};

/// Makes `y` the result of an operation on `args`. `backward` gives a gradient for each that
/// is tracked. If none is, `y` stays what it is.
///
/// `y` must be a new tensor that nothing else reads: its storage is taken.
pub(crate) fn node(
    name: &'static str,
    y: Tensor,
    args: &[&Tensor],
    backward: impl Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
) -> Result<Tensor> {
    if !args.iter().any(|t| t.track_op()) {
        return Ok(y);
    }
    if !records() {
        return match args {
            [a, b, _, _, ..] => {
                let (rest, backward) = together(args, backward)?;
                node::node(name, y, &[a, b, &rest], backward)
            }
            _ => node::node(name, y, args, Box::new(backward)),
        };
    }
    let shape = y.shape().clone();
    let y = leaf(node::take(name, &y.contiguous()?)?, shape);
    record(&y, args, Box::new(backward));
    Ok(y)
}

/// All arguments from the third on as one, of one type: candle's operations take no more than
/// three.
fn together(
    args: &[&Tensor],
    backward: impl Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
) -> Result<(Tensor, Backward)> {
    let flat = args[2..].iter().map(|t| t.flatten_all()).collect::<Result<Vec<_>>>()?;
    let shapes: Vec<_> = args[2..].iter().map(|t| t.shape().clone()).collect();
    let dtype = args[2].dtype();
    let backward = move |dy: &Tensor| {
        let mut grads = backward(dy)?;
        let rest = grads.split_off(2);
        let rest = rest.into_iter().zip(&shapes).map(|(gradient, shape)| match gradient {
            Some(gradient) => gradient.flatten_all(),
            None => Tensor::zeros(shape.elem_count(), dtype, dy.device()),
        });
        grads.push(Some(Tensor::cat(&rest.collect::<Result<Vec<_>>>()?, 0)?));
        Ok(grads)
    };
    Ok((Tensor::cat(&flat, 0)?, Box::new(backward)))
}

fn leaf(storage: Storage, shape: Shape) -> Tensor {
    Tensor::from_storage(storage, shape, BackpropOp::none(), true)
}

/// While a tape runs, whoever reads `y` in a backward pass computes it once more by `make`,
/// instead of keeping it.
pub(crate) fn again(y: &Tensor, make: impl Fn() -> Result<Tensor> + Send + Sync + 'static) {
    if !records() || !y.track_op() {
        return;
    }
    tape::make_again(
        y.id(),
        Again::new(move || {
            let y = make()?;
            Ok(leaf(node::take("moa-again", &y)?, y.shape().clone()))
        }),
    );
}

/// What an operation's backward pass reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Only its arguments, as most; it is given its gradient in the result's place.
    Arguments,
    /// The result, too.
    Result,
}

/// An operation of the CPU with one argument, whose backward pass does not read the result.
pub(crate) fn apply1(a: &Tensor, op: impl CustomOp1 + Send + Sync + 'static) -> Result<Tensor> {
    if !records() || !a.track_op() {
        return a.apply_op1(op);
    }
    let (storage, shape) = {
        let (s, l) = a.storage_and_layout();
        op.cpu_fwd(cpu(&s)?, l)?
    };
    let (y, held) = (leaf(Storage::Cpu(storage), shape), Held::of(a));
    record(&y, &[a], Box::new(move |dy| Ok(vec![op.bwd(&held.get()?, dy, dy)?])));
    Ok(y)
}

/// The same with two.
pub(crate) fn apply2(
    a: &Tensor,
    b: &Tensor,
    op: impl CustomOp2 + Send + Sync + 'static,
) -> Result<Tensor> {
    if !records() || !(a.track_op() || b.track_op()) {
        return a.apply_op2(b, op);
    }
    let (storage, shape) = {
        let ((sa, la), (sb, lb)) = (a.storage_and_layout(), b.storage_and_layout());
        op.cpu_fwd(cpu(&sa)?, la, cpu(&sb)?, lb)?
    };
    let (y, held) = (leaf(Storage::Cpu(storage), shape), [a, b].map(Held::of));
    let backward = move |dy: &Tensor| {
        let (da, db) = op.bwd(&held[0].get()?, &held[1].get()?, dy, dy)?;
        Ok(vec![da, db])
    };
    record(&y, &[a, b], Box::new(backward));
    Ok(y)
}

/// The same with three.
pub(crate) fn apply3(
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
    op: impl CustomOp3 + Send + Sync + 'static,
    reads: Reads,
) -> Result<Tensor> {
    if !records() || !(a.track_op() || b.track_op() || c.track_op()) {
        return a.apply_op3(b, c, op);
    }
    let (storage, shape) = {
        let ((sa, la), (sb, lb)) = (a.storage_and_layout(), b.storage_and_layout());
        let (sc, lc) = c.storage_and_layout();
        op.cpu_fwd(cpu(&sa)?, la, cpu(&sb)?, lb, cpu(&sc)?, lc)?
    };
    let (y, held) = (leaf(Storage::Cpu(storage), shape), [a, b, c].map(Held::of));
    let result = (reads == Reads::Result).then(|| y.clone());
    let backward = move |dy: &Tensor| {
        let [a, b, c] = [held[0].get()?, held[1].get()?, held[2].get()?];
        let (da, db, dc) = op.bwd(&a, &b, &c, result.as_ref().unwrap_or(dy), dy)?;
        Ok(vec![da, db, dc])
    };
    record(&y, &[a, b, c], Box::new(backward));
    Ok(y)
}

fn cpu(storage: &Storage) -> Result<&candle_core::CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        _ => candle_core::bail!("expected a tensor on the CPU"),
    }
}
