//! Expert by expert: its tokens are gathered, multiplied by its delta, weighted
//! and added back. Each token is computed only by the experts it chose.

#![allow(unsafe_code)]

use super::DropConnect;
use super::delta::Sizes;
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
        let mut y = crate::linear::forward(self.x, self.weight, Some(&constant), sizes.out);
        let outer = factors.outer();
        for (expert, members) in self.members().iter().enumerate() {
            if members.is_empty() {
                continue;
            }
            let mut h = sizes.delta(&outer, &factors.inner(expert));
            self.settings.drop.mask(expert, h.len()).apply(&mut h);
            let x = self.gather(self.x, sizes.width, members);
            let x = View::new(&x, members.len(), sizes.width);
            let h = View::new(&h, sizes.width, sizes.out);
            let rows = product(Into::Set, &[(x, h)], Threads::All);
            self.scatter(&mut y, sizes.out, &rows, members);
        }
        y
    }

    fn backward(&self, dy: &[T], wants_x: bool) -> Grads<T> {
        let sizes = &self.settings.sizes;
        let (width, out, t) = (sizes.width, sizes.out, sizes.t);
        let factors = sizes.factors(self.theta);
        let outer = factors.outer();
        let mut dx = wants_x.then(|| crate::linear::input_grad(dy, self.weight, out));
        let mut gates = vec![T::zero(); self.gates.len()];
        let mut douter = vec![T::zero(); t * t * t];
        let mut dexperts = Vec::new();
        for (expert, members) in self.members().iter().enumerate() {
            if members.is_empty() {
                dexperts.resize(dexperts.len() + sizes.ranks[expert] * (width + out), T::zero());
                continue;
            }
            let n = members.len();
            let inner = factors.inner(expert);
            let mut h = sizes.delta(&outer, &inner);
            let mask = self.settings.drop.mask(expert, h.len());
            mask.apply(&mut h);
            let x = self.gather(self.x, width, members);
            let mut g = self.gather(dy, out, members);

            // dy H^T serves both x and, as (dy H^T) . x = dy . (x H), the gate.
            let h_view = View::new(&h, width, out);
            let back = product(Into::Set, &[(View::new(&g, n, out), h_view.t())], Threads::All);
            let rows = back.par_chunks(width).zip(x.par_chunks(width)).with_min_len(BLOCK);
            let dots: Vec<T> = rows.map(|(back, x)| vectorise!(dot(back, x))).collect();
            for (dot, &(_, place)) in dots.into_iter().zip(members) {
                gates[place] = dot * T::from_f64(self.settings.scale);
            }
            if let Some(dx) = &mut dx {
                self.scatter(dx, width, &back, members);
            }

            g.par_chunks_mut(out).zip(members).with_min_len(BLOCK).for_each(
                |(row, &(_, place))| {
                    let weight = self.weight_of(place);
                    row.iter_mut().for_each(|v| *v *= weight);
                },
            );
            let x = View::new(&x, n, width);
            let mut dh = h;
            gemm(&mut dh, out, Into::Set, &[(x.t(), View::new(&g, n, out))], Threads::All);
            mask.apply(&mut dh);
            let dinner = sizes.delta_grad(&dh, &outer, &inner, &mut douter);
            let (dleft, dright) = factors.inner_grad(expert, &dinner);
            dexperts.extend(dleft);
            dexperts.extend(dright);
        }
        let (ds, dv) = factors.outer_grad(&douter);
        let mut theta = [ds, dv, dexperts].concat();
        if self.settings.bias {
            theta.extend(column_sums(dy, out));
        }
        Grads { x: dx, gates, theta }
    }
}
