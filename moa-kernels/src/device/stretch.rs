//! Frozen halves of blocks, one after the other, as one operation.

use super::attention::{self, Kept as Attended};
use super::{activation, layer_norm, like, linear, node, residual, rows};
use crate::frozen::{Attention, Half, Mlp, Norm};
use candle_core::{Result, Tensor};
use std::sync::Mutex;

/// See [`crate::frozen::stretch`].
pub fn stretch(x: &Tensor, qkv: Option<&Tensor>, halves: Vec<Half>) -> Result<Tensor> {
    let keeps = x.track_op() || qkv.is_some_and(Tensor::track_op);
    let op = Stretch { halves };
    let (start, given) = (x.detach().contiguous()?, qkv.map(Tensor::detach));
    let (y, kept) = op.forward(&start, given.as_ref(), keeps)?;
    let wants = x.track_op();
    let wants_qkv = qkv.map(Tensor::track_op);
    let args: Vec<_> = [x].into_iter().chain(qkv).collect();
    let kept = Mutex::new(Some(kept));
    node("moa-stretch", y, &args, move |dy| {
        let kept = match kept.lock().unwrap_or_else(|e| e.into_inner()).take() {
            Some(kept) => kept,
            None => op.forward(&start, given.as_ref(), true)?.1,
        };
        let (dx, dqkv) = op.backward(dy, kept)?;
        let mut grads = vec![wants.then_some(dx)];
        grads.extend(wants_qkv.map(|wants| dqkv.filter(|_| wants)));
        Ok(grads)
    })
}

struct Stretch {
    halves: Vec<Half>,
}

/// What a half's backward pass needs.
struct Kept {
    /// The half's input.
    x: Tensor,
    inner: Inner,
}

enum Inner {
    Attended(Attended),
    /// What goes into the activation, before its bias; `None` if it is computed again.
    Hidden(Option<Tensor>),
}

impl Stretch {
    fn forward(
        &self,
        x: &Tensor,
        qkv: Option<&Tensor>,
        keeps: bool,
    ) -> Result<(Tensor, Vec<Kept>)> {
        let (mut x, mut kept) = (x.clone(), Vec::new());
        for half in &self.halves {
            let (y, inner) = match half {
                Half::Attention(half) => half.device_forward(&x, qkv)?,
                Half::Mlp(half) => half.device_forward(&x, keeps)?,
            };
            let x = std::mem::replace(&mut x, y);
            if keeps {
                kept.push(Kept { x, inner });
            }
        }
        Ok((x, kept))
    }

    /// Gradients of `x` and, if it was given, of qkv.
    fn backward(&self, dy: &Tensor, mut kept: Vec<Kept>) -> Result<(Tensor, Option<Tensor>)> {
        let (mut dx, mut dqkv) = (dy.clone(), None);
        for half in self.halves.iter().rev() {
            let Some(Kept { x, inner }) = kept.pop() else { break };
            dx = match (half, inner) {
                (Half::Attention(half), Inner::Attended(kept)) => {
                    let (dx, given) = half.device_backward(&x, &kept, &dx)?;
                    dqkv = given;
                    dx
                }
                (Half::Mlp(half), Inner::Hidden(h)) => half.device_backward(&x, h, &dx)?,
                _ => candle_core::bail!("stretch: another half was kept"),
            };
        }
        Ok((dx, dqkv))
    }
}

impl Norm {
    fn device_forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm::forward(x, &self.weight, &self.bias, self.eps)
    }

    fn device_backward(&self, x: &Tensor, dy: &Tensor, dx: &Tensor) -> Result<Tensor> {
        layer_norm::add_input_grad(x, &self.weight, dy, dx, self.eps)
    }
}

impl Attention {
    fn device_forward(&self, x: &Tensor, given: Option<&Tensor>) -> Result<(Tensor, Inner)> {
        let (b, n, d) = x.dims3()?;
        let sizes = self.sizes([b, n, d]);
        let (joined, kept) = match (&self.qkv, given) {
            (Some((norm, linear)), _) => {
                let normal = rows(&norm.device_forward(x)?)?;
                let qkv = linear::forward(&normal, &like(&linear.weight, x)?, None)?;
                attention::forward(&qkv.reshape((b, n, 3 * d))?, linear.bias.as_ref(), sizes)?
            }
            (None, Some(qkv)) => attention::forward(&qkv.contiguous()?, None, sizes)?,
            (None, None) => candle_core::bail!("stretch: no qkv"),
        };
        let branch = linear::forward(&rows(&joined)?, &like(&self.proj.weight, x)?, None)?;
        let x = x.narrow(1, 0, sizes.queries)?.contiguous()?;
        let branch = branch.reshape(x.shape())?;
        let y = residual::forward(&x, &branch, self.proj.bias.as_ref(), self.gamma.as_ref())?;
        Ok((y, Inner::Attended(kept)))
    }

    fn device_backward(
        &self,
        x: &Tensor,
        kept: &Attended,
        dy: &Tensor,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (b, n, d) = x.dims3()?;
        let sizes = self.sizes([b, n, d]);
        let dbranch = rows(&residual::branch_grad(dy, self.gamma.as_ref())?)?;
        let djoined = dbranch.matmul(&like(&self.proj.weight, x)?)?;
        let dqkv = kept.backward(&djoined.reshape((b, sizes.queries, d))?)?;
        let dx = match sizes.queries < n {
            true => dy.pad_with_zeros(1, 0, n - sizes.queries)?,
            false => dy.clone(),
        };
        let Some((norm, linear)) = &self.qkv else { return Ok((dx, Some(dqkv))) };
        let dnormal = rows(&dqkv)?.matmul(&like(&linear.weight, x)?)?.reshape(x.shape())?;
        Ok((norm.device_backward(x, &dnormal, &dx)?, None))
    }
}

impl Mlp {
    fn hidden(&self, x: &Tensor) -> Result<Tensor> {
        let normal = rows(&self.norm.device_forward(x)?)?;
        linear::forward(&normal, &like(&self.fc1.weight, x)?, None)
    }

    fn device_forward(&self, x: &Tensor, keeps: bool) -> Result<(Tensor, Inner)> {
        let h = self.hidden(x)?;
        let inner = activation::forward(&h, self.fc1.bias.as_ref(), self.activation)?;
        let branch = linear::forward(&inner, &like(&self.fc2.weight, x)?, None)?;
        let branch = branch.reshape(x.shape())?;
        let y = residual::forward(x, &branch, self.fc2.bias.as_ref(), self.gamma.as_ref())?;
        Ok((y, Inner::Hidden((keeps && !self.recompute).then_some(h))))
    }

    fn device_backward(&self, x: &Tensor, h: Option<Tensor>, dy: &Tensor) -> Result<Tensor> {
        let h = match h {
            Some(h) => h,
            None => self.hidden(x)?,
        };
        let dbranch = rows(&residual::branch_grad(dy, self.gamma.as_ref())?)?;
        let dinner = dbranch.matmul(&like(&self.fc2.weight, x)?)?;
        let dh = activation::backward(&h, self.fc1.bias.as_ref(), &dinner, self.activation)?;
        let dnormal = dh.matmul(&like(&self.fc1.weight, x)?)?.reshape(x.shape())?;
        self.norm.device_backward(x, &dnormal, dy)
    }
}
