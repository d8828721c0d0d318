//! Expert by expert: its tokens are gathered, multiplied by its delta, weighted
//! and added back. Each token is computed only by the experts it chose.

#![allow(unsafe_code)]

use super::DropConnect;
use super::delta::{Factors, Sizes};
use crate::cpu::{BLOCK, Into, Real, Scattered, Threads, View};
use crate::cpu::{column_sums, dot, gemm, product, unset, vectorise};
use crate::routed::{Experts, Grads, Layer};
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

    fn backward<T: Real>(layer: &Layer<'_, T, Self>, dy: &[T], wants_x: bool) -> Grads<T> {
        layer.backward(dy, wants_x)
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
        let (outer, all) = (factors.outer(), self.members());
        // Experts are too small to keep all threads busy one by one.
        let (mut y, rows) = rayon::join(
            || crate::linear::forward(self.x, self.weight, Some(&constant), sizes.out),
            || {
                self.each_expert(&all, |expert, members| {
                    let mut h = sizes.delta(&outer, &factors.inner(expert));
                    self.settings.drop.mask(expert, h.len()).apply(&mut h);
                    let x = self.gather(self.x, sizes.width, members);
                    let x = View::new(&x, members.len(), sizes.width);
                    let h = View::new(&h, sizes.width, sizes.out);
                    product(Into::Set, &[(x, h)], Threads::All)
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
        let (width, out, t) = (sizes.width, sizes.out, sizes.t);
        let factors = sizes.factors(self.theta);
        let (outer, all) = (factors.outer(), self.members());
        let (mut dx, experts) = rayon::join(
            || wants_x.then(|| crate::linear::input_grad(dy, self.weight, out)),
            || {
                self.each_expert(&all, |e, members| {
                    self.expert_grads(dy, &factors, &outer, e, members)
                })
            },
        );
        let mut gates = vec![T::zero(); self.gates.len()];
        let mut douter = vec![T::zero(); t * t * t];
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
            douter.iter_mut().zip(&grads.outer).for_each(|(sum, &d)| *sum += d);
            dexperts.extend(grads.inner.0);
            dexperts.extend(grads.inner.1);
        }
        let (ds, dv) = factors.outer_grad(&douter);
        let mut theta = [ds, dv, dexperts].concat();
        if self.settings.bias {
            theta.extend(column_sums(dy, out));
        }
        Grads { x: dx, gates, theta }
    }

    fn expert_grads(
        &self,
        dy: &[T],
        factors: &Factors<'_, T>,
        outer: &[T],
        expert: usize,
        members: &Members,
    ) -> ExpertGrads<T> {
        let (sizes, n) = (&self.settings.sizes, members.len());
        let (width, out) = (sizes.width, sizes.out);
        let inner = factors.inner(expert);
        let mut h = sizes.delta(outer, &inner);
        let mask = self.settings.drop.mask(expert, h.len());
        mask.apply(&mut h);
        let x = self.gather(self.x, width, members);
        let mut g = self.gather(dy, out, members);

        // dy H^T serves both x and, as (dy H^T) . x = dy . (x H), the gate.
        let h_view = View::new(&h, width, out);
        let back = product(Into::Set, &[(View::new(&g, n, out), h_view.t())], Threads::All);
        let rows = back.par_chunks(width).zip(x.par_chunks(width)).with_min_len(BLOCK);
        let dots = rows.map(|(back, x)| vectorise!(dot(back, x))).collect();

        let rows = g.par_chunks_mut(out).zip(members).with_min_len(BLOCK);
        rows.for_each(|(row, &(_, place))| {
            let weight = self.weight_of(place);
            vectorise!(row.iter_mut().for_each(|v| *v *= weight));
        });
        let mut dh = h;
        let x = View::new(&x, n, width);
        gemm(&mut dh, out, Into::Set, &[(x.t(), View::new(&g, n, out))], Threads::All);
        mask.apply(&mut dh);
        let (outer, dinner) = sizes.delta_grad(&dh, outer, &inner);
        ExpertGrads { back, dots, outer, inner: factors.inner_grad(expert, &dinner) }
    }
}

/// Gradients of one expert.
struct ExpertGrads<T> {
    /// Of its tokens, before scale and gate.
    back: Vec<T>,
    /// Of its gates, before scale.
    dots: Vec<T>,
    /// Of `A`.
    outer: Vec<T>,
    /// Of its own two factors.
    inner: (Vec<T>, Vec<T>),
}
