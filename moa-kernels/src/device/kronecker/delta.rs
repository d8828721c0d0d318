//! All deltas `H_e = sum_i (s_i v_i) (x) (L_ei R_ei)` of a layer, and their gradient.
//!
//! With `A_i = s_i v_i` as rows of a `t x t^2` matrix and all experts' `B_i = L_i R_i` side
//! by side as a `t x (E a b)` matrix, `A^T B` holds every entry of every delta, in another
//! order: one product, then one pass that puts entries in their places and drops some.

use super::super::wide;
use crate::kernels::factors::Factors;
use crate::kronecker::{DropConnect, Expert, Shared, keep_factor, keep_mask};
use candle_core::{DType, Result, Tensor};

/// The factors of a layer and what is dropped.
pub struct Deltas {
    /// `[t, t]`, row `i` is `s_i`.
    s: Tensor,
    /// `[t, t]`, row `i` is `v_i`.
    v: Tensor,
    /// `[t, a, r]` and `[t, r, b]` of each expert.
    factors: Vec<(Tensor, Tensor)>,
    drop: DropConnect,
    t: usize,
    a: usize,
    b: usize,
}

impl Deltas {
    pub fn new(shared: &Shared, experts: &[Expert], drop: DropConnect) -> Result<Self> {
        let flat = |t: &Tensor| wide(&t.detach())?.contiguous();
        let t = shared.left.dim(0)?;
        let square = |f: &Tensor| flat(f)?.reshape((t, t));
        let (s, v) = (square(&shared.left)?, square(&shared.right)?);
        let factors = experts.iter().map(|e| Ok((flat(&e.left)?, flat(&e.right)?)));
        let factors = factors.collect::<Result<Vec<_>>>()?;
        let (a, b) = (experts[0].left.dim(1)?, experts[0].right.dim(2)?);
        Ok(Self { s, v, factors, drop, t, a, b })
    }

    fn experts(&self) -> usize {
        self.factors.len()
    }

    /// `A`, `[t, t^2]`.
    fn outer(&self) -> Result<Tensor> {
        self.s.unsqueeze(2)?.broadcast_mul(&self.v.unsqueeze(1)?)?.reshape((self.t, ()))
    }

    /// `B` of all experts, `[t, E a b]`.
    fn inner(&self) -> Result<Tensor> {
        let inner = self.factors.iter().map(|(l, r)| l.matmul(r)).collect::<Result<Vec<_>>>()?;
        Tensor::stack(&inner, 1)?.reshape((self.t, ()))
    }

    fn small(&self) -> Factors<'_> {
        let sizes = (self.experts(), self.t, self.a, self.b);
        Factors { s: &self.s, v: &self.v, experts: &self.factors, sizes }
    }

    /// `A` and `B`.
    fn products(&self) -> Result<(Tensor, Tensor)> {
        match self.small() {
            small if small.fit() => small.products(),
            _ => Ok((self.outer()?, self.inner()?)),
        }
    }

    /// `[experts, in, out]`, dropped entries 0 and the others scaled.
    pub fn build(&self, dtype: DType) -> Result<Tensor> {
        let (outer, inner) = self.products()?;
        let product = outer.t()?.matmul(&inner)?;
        if crate::kernels::runs(&product) && product.dtype() == DType::F32 {
            let sizes = (self.experts(), self.t, self.a, self.b);
            return crate::kernels::kronecker::place(&product, sizes, &self.drop, dtype);
        }
        let (t, e, a, b) = (self.t, self.experts(), self.a, self.b);
        let h = product.reshape((t, t, e, a, b))?.permute((2, 0, 3, 1, 4))?.contiguous()?;
        self.masked(h.reshape((e, t * a, t * b))?)?.to_dtype(dtype)
    }

    /// The gradients of all factors, in order, from that of the deltas.
    pub fn grads(&self, dh: &Tensor) -> Result<Vec<Tensor>> {
        let (t, e, a, b) = (self.t, self.experts(), self.a, self.b);
        let dproduct = self.unplaced(dh)?;
        let (outer, inner) = self.products()?;
        let dinner = outer.matmul(&dproduct)?.reshape((t, e, a, b))?;
        let douter = inner.matmul(&dproduct.t()?)?.reshape((t, t, t))?;
        if self.small().fit() {
            return self.small().grads(&douter, &dinner);
        }
        let ds = douter.matmul(&self.v.unsqueeze(2)?)?.squeeze(2)?;
        let dv = self.s.unsqueeze(1)?.matmul(&douter)?.squeeze(1)?;
        let mut grads = vec![ds, dv];
        for (number, (l, r)) in self.factors.iter().enumerate() {
            let d = dinner.narrow(1, number, 1)?.squeeze(1)?.contiguous()?;
            grads.push(d.matmul(&r.t()?)?);
            grads.push(l.t()?.matmul(&d)?);
        }
        Ok(grads)
    }

    /// The gradient of the product `[t^2, E a b]` from that of the deltas.
    fn unplaced(&self, dh: &Tensor) -> Result<Tensor> {
        let (t, e, a, b) = (self.t, self.experts(), self.a, self.b);
        if crate::kernels::runs(dh) && self.s.dtype() == DType::F32 {
            return crate::kernels::kronecker::unplace(dh, (e, t, a, b), &self.drop);
        }
        let dh = self.masked(wide(dh)?)?;
        dh.reshape((e, t, a, t, b))?.permute((1, 3, 0, 2, 4))?.contiguous()?.reshape((t * t, ()))
    }

    fn masked(&self, h: Tensor) -> Result<Tensor> {
        let (keep, factor) = match &self.drop {
            DropConnect::Off => return Ok(h),
            DropConnect::Given { keep, p } => (keep.to_vec(), 1.0 / (1.0 - p)),
            DropConnect::Seeded { key, layer, p } => {
                let entries = h.elem_count() / self.experts();
                let masks =
                    (0..self.experts() as u8).flat_map(|e| keep_mask(*key, *layer, e, *p, entries));
                (masks.collect(), keep_factor(*p))
            }
        };
        let keep = Tensor::from_vec(keep, h.shape(), h.device())?.to_dtype(h.dtype())?;
        (h * keep)? * factor
    }
}

/// One delta without dropout, `[in, out]`.
pub fn materialise(shared: &Shared, expert: &Expert) -> Result<Tensor> {
    let deltas = Deltas::new(shared, std::slice::from_ref(expert), DropConnect::Off)?;
    deltas.build(expert.left.dtype())?.squeeze(0)
}
