//! Expert by expert: its tokens are gathered, sent through it, weighted and added
//! back. Each token is computed only by the experts it chose.

#![allow(unsafe_code)]

use super::DropConnect;
use super::delta::Sizes;
use super::expert::{ExpertGrads, One};
use crate::cpu::{BLOCK, Real, Scattered, View, column_sums, unset, vectorise};
use crate::routed::{Experts, Grads, Layer, WantsX};
use rayon::prelude::*;

/// What is fixed for one call.
pub struct Settings {
    pub sizes: Sizes,
    /// A trainable bias stands at the end of theta.
    pub bias: bool,
    pub scale: f64,
    pub drop: DropConnect,
}

impl Experts for Settings {
    const NAME: &'static str = "moa-routed-kronecker";

    fn out(&self) -> usize {
        self.sizes.out
    }

    fn forward<T: Real>(layer: &Layer<'_, T, Self>, base_bias: Option<&[T]>) -> Vec<T> {
        layer.forward(base_bias)
    }

    fn backward<T: Real>(layer: &Layer<'_, T, Self>, dy: &[T], wants_x: WantsX) -> Grads<T> {
        layer.backward(dy, wants_x != WantsX::Nothing)
    }
}

/// `(token, place in gates)` of every token that chose an expert, in order.
type Members = Vec<(usize, usize)>;

impl<T: Real> Layer<'_, T, Settings> {
    fn tokens(&self) -> usize {
        self.x.len() / self.settings.sizes.width
    }

    fn members(&self) -> Vec<Members> {
        let k = self.indices.len() / self.tokens().max(1);
        let mut members = vec![Members::new(); self.settings.sizes.ranks.len()];
        for (place, &expert) in self.indices.iter().enumerate() {
            members[expert as usize].push((place / k, place));
        }
        members
    }

    /// The rows of the members of one expert, packed.
    fn gather(&self, from: &[T], width: usize, members: &Members) -> Vec<T> {
        let mut rows = unset(members.len() * width);
        rows.par_chunks_mut(width).zip(members).with_min_len(BLOCK).for_each(|(row, &(t, _))| {
            row.copy_from_slice(&from[t * width..(t + 1) * width]);
        });
        rows
    }

    /// Adds packed rows times `scale * gate` to the rows of the members.
    fn scatter(&self, to: &mut [T], width: usize, rows: &[T], members: &Members) {
        let to = Scattered::new(to);
        rows.par_chunks(width).zip(members).with_min_len(BLOCK).for_each(|(row, &(t, place))| {
            let gate = self.weight_of(place);
            // SAFETY: a token chooses an expert at most once, so rows do not repeat.
            let to = unsafe { to.row(t * width, width) };
            vectorise!({
                for (to, &v) in to.iter_mut().zip(row) {
                    *to += gate * v;
                }
            });
        });
    }

    fn weight_of(&self, place: usize) -> T {
        self.gates[place] * T::from_f64(self.settings.scale)
    }

    fn forward(&self, base_bias: Option<&[T]>) -> Vec<T> {
        let sizes = &self.settings.sizes;
        let factors = sizes.factors(self.theta);
        let mut constant = base_bias.map_or(vec![T::zero(); sizes.out], <[T]>::to_vec);
        constant.iter_mut().zip(factors.bias).for_each(|(c, &b)| *c += b);
        let (outer, all) = (self.settings.outer(&factors), self.members());
        // Experts are too small to keep all threads busy one by one.
        let (mut y, rows) = rayon::join(
            || crate::linear::forward(self.x, self.weight, Some(&constant)),
            || {
                self.each_expert(&all, |expert, members| {
                    let x = self.gather(self.x, sizes.width, members);
                    One::new(self.settings, &factors, &outer, expert).forward(&x)
                })
            },
        );
        for (rows, members) in rows.iter().zip(&all) {
            if let Some(rows) = rows {
                self.scatter(&mut y, sizes.out, rows, members);
            }
        }
        y
    }

    /// Calls `f` for every expert that was chosen, at the same time.
    fn each_expert<R: Send>(
        &self,
        all: &[Members],
        f: impl Fn(usize, &Members) -> R + Sync,
    ) -> Vec<Option<R>> {
        let experts = all.par_iter().enumerate();
        experts.map(|(e, members)| (!members.is_empty()).then(|| f(e, members))).collect()
    }

    fn backward(&self, dy: &[T], wants_x: bool) -> Grads<T> {
        let sizes = &self.settings.sizes;
        let (width, out) = (sizes.width, sizes.out);
        let factors = sizes.factors(self.theta);
        let (outer, all) = (self.settings.outer(&factors), self.members());
        let (mut dx, experts) = rayon::join(
            || wants_x.then(|| crate::linear::input_grad(View::all(dy, out), &self.weight.rows())),
            || {
                self.each_expert(&all, |e, members| {
                    let expert = One::new(self.settings, &factors, &outer, e);
                    self.expert_grads(dy, &expert, members)
                })
            },
        );
        let mut gates = vec![T::zero(); self.gates.len()];
        let mut shared = Vec::new();
        let mut dexperts = Vec::new();
        for ((grads, members), rank) in experts.into_iter().zip(&all).zip(&sizes.ranks) {
            let Some(grads) = grads else {
                dexperts.resize(dexperts.len() + rank * (width + out), T::zero());
                continue;
            };
            for (&dot, &(_, place)) in grads.dots.iter().zip(members) {
                gates[place] = dot * T::from_f64(self.settings.scale);
            }
            if let Some(dx) = &mut dx {
                self.scatter(dx, width, &grads.back, members);
            }
            shared.resize(grads.shared.len(), T::zero());
            shared.iter_mut().zip(&grads.shared).for_each(|(sum, &d)| *sum += d);
            dexperts.extend(grads.inner.0);
            dexperts.extend(grads.inner.1);
        }
        let mut theta = [self.settings.shared_grad(&factors, shared), dexperts].concat();
        if self.settings.bias {
            theta.extend(column_sums(dy, out));
        }
        Grads { x: dx, terms: Vec::new(), gates, theta }
    }

    fn expert_grads(&self, dy: &[T], expert: &One<'_, T>, members: &Members) -> ExpertGrads<T> {
        let x = self.gather(self.x, self.settings.sizes.width, members);
        let dy = self.gather(dy, self.settings.sizes.out, members);
        let weights: Vec<T> = members.iter().map(|&(_, place)| self.weight_of(place)).collect();
        expert.backward(x, dy, &weights)
    }
}
