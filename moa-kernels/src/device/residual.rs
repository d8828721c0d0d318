//! `x + gamma * y`.

use super::{like, node, rows, sum_rows};
use candle_core::{Result, Tensor};

/// See [`crate::residual::residual`].
pub fn residual(x: &Tensor, y: &Tensor, gamma: Option<&Tensor>) -> Result<Tensor> {
    let branch = y.detach().contiguous()?;
    let sum = forward(&x.detach().contiguous()?, &branch, None, gamma)?;
    let wants = [x.track_op(), y.track_op()];
    let wants_gamma = gamma.filter(|g| g.track_op()).map(|g| (branch, g.dtype()));
    let factor = gamma.map(|g| like(g, y)).transpose()?;
    let args: Vec<_> = [x, y].into_iter().chain(gamma).collect();
    node("moa-residual", sum, &args, move |grad| {
        let dy = wants[1].then(|| branch_grad(grad, factor.as_ref())).transpose()?;
        let mut grads = vec![wants[0].then(|| grad.clone()), dy];
        if factor.is_some() {
            grads.push(match &wants_gamma {
                Some((y, dtype)) => Some(sum_rows(&rows(&(y * grad)?)?, *dtype)?),
                None => None,
            });
        }
        Ok(grads)
    })
}

/// `x + gamma * (y + bias)`; `gamma` defaults to 1, `bias` to 0.
pub(super) fn forward(
    x: &Tensor,
    y: &Tensor,
    bias: Option<&Tensor>,
    gamma: Option<&Tensor>,
) -> Result<Tensor> {
    if crate::kernels::runs(x) {
        let (bias, gamma) =
            (bias.map(|b| like(b, x)).transpose()?, gamma.map(|g| like(g, x)).transpose()?);
        return crate::kernels::residual::forward(x, y, bias.as_ref(), gamma.as_ref());
    }
    let mut y = match bias {
        Some(bias) => y.broadcast_add(&like(bias, y)?)?,
        None => y.clone(),
    };
    if let Some(gamma) = gamma {
        y = y.broadcast_mul(&like(gamma, &y)?)?;
    }
    x + y
}

/// The gradient of the branch.
pub(super) fn branch_grad(grad: &Tensor, gamma: Option<&Tensor>) -> Result<Tensor> {
    match gamma {
        Some(gamma) => grad.broadcast_mul(&like(gamma, grad)?),
        None => Ok(grad.clone()),
    }
}
