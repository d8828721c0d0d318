//! The way back.

use super::super::{add_product, node, rows};
use crate::kernels::gemm::{in_f32, product, room};
use crate::kernels::routed::{Finished, Given, Sizes, Small, finish, grad};
use candle_core::{DType, Result, Shape, Tensor};
use std::sync::{Arc, Mutex};

/// What a tensor is to the layer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    X,
    Projection,
    ProjectionBias,
    Sim,
    Temperature,
    Down(usize),
    Up(usize),
    Bias,
}

/// Gradients of the layer's result and of the scores, as far as there are any.
#[derive(Default)]
pub struct Owed {
    pub dy: Option<Tensor>,
    pub dscores: Option<Tensor>,
}

impl Owed {
    pub fn is_empty(&self) -> bool {
        self.dy.is_none() && self.dscores.is_none()
    }
}

/// What the backward pass needs.
pub struct Kept {
    pub x: Tensor,
    pub weight: Option<Tensor>,
    /// `x U^T`
    pub kept: Tensor,
    /// `U`
    pub below: Option<Tensor>,
    pub small: Small,
    pub temperature: Option<Tensor>,
    pub noise: Option<Tensor>,
    /// The experts of each token.
    pub chosen: Option<Tensor>,
    pub sizes: Sizes,
}

impl Kept {
    /// The tensor that everything hangs on.
    pub fn link(
        self,
        args: Vec<Tensor>,
        roles: Vec<Role>,
        owed: Arc<Mutex<Owed>>,
    ) -> Result<Tensor> {
        let link = room(1, &self.x)?;
        let shapes: Vec<_> = args.iter().map(|t| t.shape().clone()).collect();
        let args: Vec<&Tensor> = args.iter().collect();
        node("moa-router", link, &args, move |_| {
            let owed = std::mem::take(&mut *owed.lock().unwrap_or_else(|e| e.into_inner()));
            let grads = self.backward(&roles, owed)?.into_iter().zip(&shapes);
            let shaped = |(grad, shape): (Option<Tensor>, &Shape)| match grad {
                Some(grad) => grad.reshape(shape).map(Some),
                // Only the scores have been used.
                None => Tensor::zeros(shape, DType::F32, self.x.device()).map(Some),
            };
            grads.map(shaped).collect()
        })
    }

    fn backward(&self, roles: &[Role], owed: Owed) -> Result<Vec<Option<Tensor>>> {
        let s = &self.sizes;
        let Owed { dy, dscores } = owed;
        let dy = dy.map(|dy| rows(&dy)?.contiguous()).transpose()?;
        let dscores = dscores.map(|d| d.contiguous()).transpose()?;
        let given = Given { noise: self.noise.as_ref(), indices: self.chosen.as_ref() };
        let found = grad(s, &self.kept, &self.small, &given, (dy.as_ref(), dscores.as_ref()))?;

        let any = |f: fn(&Role) -> bool| roles.iter().any(f);
        let x = match any(|r| *r == Role::X) {
            true => Some(self.x_grad(dy.as_ref(), &found.du)?),
            false => None,
        };
        let below = match any(|r| matches!(r, Role::Down(_) | Role::Projection)) {
            true => Some(in_f32(&found.du.t()?, &self.x)?),
            false => None,
        };
        let up = match (&found.hg, &dy, any(|r| matches!(r, Role::Up(_) | Role::Bias))) {
            (Some(hg), Some(dy), true) => Some(in_f32(&hg.t()?, dy)?),
            _ => None,
        };
        let ups = up.as_ref().filter(|_| any(|r| matches!(r, Role::Up(_))));
        let router = |r: &Role| matches!(r, Role::Sim | Role::ProjectionBias | Role::Temperature);
        let finished = match ups.is_some() || any(router) {
            true => finish(s, ups, &found, &self.small, self.temperature.as_ref())?,
            false => Finished::default(),
        };
        let parts = Parts { s, x, below, up, finished };
        roles.iter().map(|&role| parts.of(role)).collect()
    }

    /// `dy W + du U`
    fn x_grad(&self, dy: Option<&Tensor>, du: &Tensor) -> Result<Tensor> {
        let missing = || candle_core::Error::msg("routed: nothing kept");
        let below = self.below.as_ref().ok_or_else(missing)?;
        match (dy, &self.weight) {
            (Some(dy), Some(weight)) => add_product(product(dy, weight)?, du, below),
            _ => product(du, below),
        }
    }
}

/// All gradients, most of them views.
struct Parts<'a> {
    s: &'a Sizes,
    x: Option<Tensor>,
    /// Of `U`.
    below: Option<Tensor>,
    /// Of all `up`, `[ranks, out]`.
    up: Option<Tensor>,
    finished: Finished,
}

impl Parts<'_> {
    fn of(&self, role: Role) -> Result<Option<Tensor>> {
        let s = self.s;
        let lines =
            |first, count| self.below.as_ref().map(|b| b.narrow(0, first, count)).transpose();
        Ok(match role {
            Role::X => self.x.clone(),
            Role::Projection => lines(s.ranks(), s.p)?,
            Role::Down(e) => lines(s.firsts[e], s.firsts[e + 1] - s.firsts[e])?,
            Role::Up(e) => self.finished.ups.get(e).cloned(),
            Role::Bias => match &self.up {
                Some(up) => Some(up.get(s.firsts[s.experts])?),
                None => None,
            },
            Role::Sim => self.finished.sim.clone(),
            Role::ProjectionBias => self.finished.projection_bias.clone(),
            Role::Temperature => self.finished.temperature.clone(),
        })
    }
}
