//! Compacter (Karimi Mahabadi et al. 2021): a bottleneck behind a linear layer whose two matrices
//! are sums of Kronecker products with small factors, the first of which the whole network shares.
//!
//! `y = h + scale * up(activation(down(h)))`, `h` being what the frozen layer gives, and
//! `down(h) = h sum_i A_i (x) (l_i r_i) + b`; `up` likewise.

use super::{AdapterConfig, Bend};
use crate::error::Result;
use crate::param::{Param, Store};
use crate::pass::Pass;
use candle_core::Tensor;
use moa_kernels::activation::{Activation, activate};
use moa_kernels::linear::linear;

/// The trainable part behind one layer.
#[derive(Clone, Debug)]
pub struct Compacter {
    /// `A`, `[t, t, t]`: one for the whole network.
    rule: Param,
    down: Phm,
    up: Phm,
    scale: f64,
    bend: Bend,
}

/// Factors `l` `[t, in/t, 1]` and `r` `[t, 1, out/t]`, and a bias.
#[derive(Clone, Debug)]
struct Phm {
    left: Param,
    right: Param,
    bias: Option<Param>,
}

impl Phm {
    fn new(
        store: &mut Store,
        prefix: &str,
        (width, out): (usize, usize),
        config: &AdapterConfig,
    ) -> Result<Self> {
        let t = config.t;
        let mut take = |name: &str, shape: &[usize]| store.take(&format!("{prefix}.{name}"), shape);
        Ok(Self {
            left: take("left", &[t, width / t, 1])?,
            right: take("right", &[t, 1, out / t])?,
            bias: config.bias.then(|| take("bias", &[out])).transpose()?,
        })
    }

    fn forward(&self, x: &Tensor, rule: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let weight = weight(rule, &self.left.get(pass), &self.right.get(pass))?;
        let weight = weight.t()?.contiguous()?.to_dtype(x.dtype())?;
        let bias = self.bias.as_ref().map(|b| b.get(pass).to_dtype(x.dtype())).transpose()?;
        Ok(linear(x, &weight, bias.as_ref())?)
    }
}

/// `sum_i A_i (x) (l_i r_i)`, `[in, out]`.
fn weight(rule: &Tensor, left: &Tensor, right: &Tensor) -> Result<Tensor> {
    let ((t, a, _), b) = (left.dims3()?, right.dim(2)?);
    let inner = left.matmul(right)?.reshape((t, a * b))?;
    // [alpha gamma, i] times [i, a b]; then [alpha, a, gamma, b].
    let outer = rule.reshape((t, t * t))?.t()?.contiguous()?;
    let all = outer.matmul(&inner)?.reshape((t, t, a, b))?;
    Ok(all.permute((0, 2, 1, 3))?.contiguous()?.reshape((t * a, t * b))?)
}

impl Compacter {
    /// Takes `{prefix}.compacter.*` and `shared.rule` from `store`; `width` is that of the layer's
    /// result.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn new(
        store: &mut Store,
        prefix: &str,
        width: usize,
        config: &AdapterConfig,
    ) -> Result<Self> {
        let (t, r) = (config.t, config.ranks[0]);
        Ok(Self {
            rule: store.take("shared.rule", &[t, t, t])?,
            down: Phm::new(store, &format!("{prefix}.compacter.down"), (width, r), config)?,
            up: Phm::new(store, &format!("{prefix}.compacter.up"), (r, width), config)?,
            scale: config.scale,
            bend: config.activation,
        })
    }

    /// What the frozen layer gives, with the bottleneck beside it.
    ///
    /// # Errors
    /// If `h` has another width.
    pub fn forward(&self, h: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let rule = self.rule.get(pass);
        let narrow = self.down.forward(h, &rule, pass)?;
        let narrow = match self.bend {
            Bend::Gelu => activate(&narrow, Activation::Gelu)?,
            Bend::None => narrow,
        };
        let wide = self.up.forward(&narrow, &rule, pass)?;
        Ok((h + (wide * self.scale)?)?)
    }

    /// Weight and bias of a linear layer that computes the same as one of `weight` and `bias` with
    /// this behind it; `None` if the bottleneck is not linear.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn merged(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Option<(Tensor, Option<Tensor>)>> {
        if self.bend != Bend::None {
            return Ok(None);
        }
        let rule = self.rule.value();
        let [down, up] = [&self.down, &self.up]
            .map(|phm| self::weight(&rule, &phm.left.value(), &phm.right.value()));
        let (down, up) = (down?, up?);
        let delta = (down.matmul(&up)? * self.scale)?.t()?.contiguous()?;
        let through = |b: &Tensor| -> Result<Tensor> {
            Ok((b + delta.matmul(&b.unsqueeze(1)?)?.squeeze(1)?)?)
        };
        let mut sum = bias.map(through).transpose()?;
        let own = [
            self.down.bias.as_ref().map(|b| up.t()?.contiguous()?.matmul(&b.value().unsqueeze(1)?)),
            self.up.bias.as_ref().map(|b| b.value().unsqueeze(1)),
        ];
        for extra in own.into_iter().flatten() {
            let extra = (extra?.squeeze(1)? * self.scale)?;
            sum = Some(match sum {
                Some(sum) => (sum + extra)?,
                None => extra,
            });
        }
        Ok(Some(((weight + delta.matmul(weight)?)?, sum)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn filled(shape: &[usize], seed: f64) -> Tensor {
        let n: usize = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|i| (seed + i as f64 * 1.37).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn the_sum_of_kronecker_products() {
        let (t, a, b) = (2, 3, 2);
        let (rule, left, right) =
            (filled(&[t, t, t], 0.1), filled(&[t, a, 1], 0.2), filled(&[t, 1, b], 0.3));
        let found = weight(&rule, &left, &right).unwrap().to_vec2::<f64>().unwrap();
        let at = |x: &Tensor, i: usize| x.flatten_all().unwrap().to_vec1::<f64>().unwrap()[i];
        for (row, col) in (0..t * a).flat_map(|row| (0..t * b).map(move |col| (row, col))) {
            let term = |i: usize| {
                at(&rule, i * t * t + (row / a) * t + col / b)
                    * at(&left, i * a + row % a)
                    * at(&right, i * b + col % b)
            };
            let wanted: f64 = (0..t).map(term).sum();
            assert!((found[row][col] - wanted).abs() < 1e-12, "{row} {col}");
        }
    }

    #[test]
    fn merged_is_the_same_if_it_is_linear() {
        let (t, width, r, input) = (2, 6, 4, 5);
        let frozen = |shape: &[usize], seed| Param::Frozen(filled(shape, seed));
        let phm = |width: usize, out: usize, seed: f64| Phm {
            left: frozen(&[t, width / t, 1], seed),
            right: frozen(&[t, 1, out / t], seed + 0.5),
            bias: Some(frozen(&[out], seed + 0.7)),
        };
        let mut compacter = Compacter {
            rule: frozen(&[t, t, t], 0.4),
            down: phm(width, r, 1.0),
            up: phm(r, width, 2.0),
            scale: 0.7,
            bend: Bend::None,
        };
        let (x, w, b) =
            (filled(&[3, input], 3.0), filled(&[width, input], 4.0), filled(&[width], 5.0));
        let h = linear(&x, &w, Some(&b)).unwrap();
        let wanted = compacter.forward(&h, &Pass::eval()).unwrap();
        let (weight, bias) = compacter.merged(&w, Some(&b)).unwrap().unwrap();
        let found = linear(&x, &weight, bias.as_ref()).unwrap();
        let gap = (found - wanted).unwrap().abs().unwrap().max_all().unwrap();
        assert!(gap.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap() < 1e-12);
        compacter.bend = Bend::Gelu;
        assert!(compacter.merged(&w, Some(&b)).unwrap().is_none());
    }
}
