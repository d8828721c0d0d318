//! The mixture-of-adapters layer, token by token, with explicit Kronecker
//! products (paper section 3).

#![allow(missing_docs)] // fields of variants are described with the variant

use super::dense::{linear, softmax};

/// How tokens are scored.
#[derive(Clone, Debug)]
pub enum Router {
    /// One expert for all.
    None,
    /// `scores` `[n, experts]`, whatever the tokens are.
    Given { scores: Vec<f64> },
    /// `W x`, `weight` `[experts, in]`.
    Linear { weight: Vec<f64> },
    /// Scaled cosine; `weight` `[p, in]`, `bias` `[p]` or empty, `sim` `[p, experts]`.
    Cosine { weight: Vec<f64>, bias: Vec<f64>, sim: Vec<f64>, temperature: f64 },
}

/// One expert.
#[derive(Clone, Debug)]
pub enum Adapter {
    /// `down` `[r, in]`, `up` `[out, r]`.
    Lora { down: Vec<f64>, up: Vec<f64> },
    /// `s`, `v` `[t, t]`; `left` `[t, a, r]`, `right` `[t, r, b]`; `keep` `[in, out]`
    /// or empty, each kept entry times `factor`.
    Kronecker {
        s: Vec<f64>,
        v: Vec<f64>,
        left: Vec<f64>,
        right: Vec<f64>,
        keep: Vec<u8>,
        factor: f64,
    },
}

/// A frozen linear layer with routed experts.
#[derive(Clone, Debug)]
pub struct Layer {
    /// `[out, in]`
    pub weight: Vec<f64>,
    /// `[out]`, base bias plus adapter bias.
    pub bias: Vec<f64>,
    /// The router.
    pub router: Router,
    /// The experts.
    pub experts: Vec<Adapter>,
    /// Experts per token.
    pub top_k: usize,
    /// Divide chosen gates by their sum.
    pub renormalise: bool,
    /// Factor of the experts' part.
    pub scale: f64,
    /// Deviation of the noise, also used by the load.
    pub noise_std: f64,
    /// Factor of the balance loss.
    pub aux_weight: f64,
    /// The load's threshold is the largest gate, not the k-th.
    pub max_threshold: bool,
}

/// Everything that [`Layer::forward`] computes.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// `[n, out]`
    pub y: Vec<f64>,
    /// `[n, experts]`, without noise.
    pub scores: Vec<f64>,
    /// `[n, k]`
    pub indices: Vec<usize>,
    /// `[n, k]`
    pub gates: Vec<f64>,
    /// The balance loss.
    pub aux: f64,
}

impl Layer {
    /// `x` `[n, in]`; `noise` `[n, experts]`, already scaled, or empty.
    pub fn forward(&self, x: &[f64], width: usize, noise: &[f64]) -> Output {
        let experts = self.experts.len();
        let deltas: Vec<Vec<f64>> =
            self.experts.iter().map(|e| e.delta(width, self.bias.len())).collect();
        let mut out = Output::default();
        let (mut importance, mut load) = (vec![0.0; experts], vec![0.0; experts]);
        for (t, x) in x.chunks(width).enumerate() {
            let scores = self.scores(t, x);
            let noisy: Vec<f64> = (0..experts)
                .map(|e| scores[e] + noise.get(t * experts + e).unwrap_or(&0.0))
                .collect();
            let (clean, probs) = (softmax(&scores), softmax(&noisy));
            let mut order: Vec<usize> = (0..experts).collect();
            order.sort_by(|&a, &b| probs[b].total_cmp(&probs[a])); // stable: first of equals
            order.truncate(self.top_k);
            let sum: f64 = order.iter().map(|&e| probs[e]).sum();
            let mut y = linear(x, &self.weight, &self.bias, width);
            for &e in &order {
                let gate = if self.renormalise { probs[e] / sum } else { probs[e] };
                for (o, y) in y.iter_mut().enumerate() {
                    let part: f64 =
                        (0..width).map(|i| x[i] * deltas[e][i * self.bias.len() + o]).sum();
                    *y += self.scale * gate * part;
                }
                out.gates.push(gate);
            }
            let q = probs[if self.max_threshold { order[0] } else { order[self.top_k - 1] }];
            for e in 0..experts {
                let u = (clean[e] - q) / self.noise_std;
                importance[e] += clean[e];
                load[e] += 0.5 * (1.0 + libm::erf(u / 2f64.sqrt()));
            }
            out.y.extend(y);
            out.scores.extend(scores);
            out.indices.extend(order);
        }
        out.aux = self.aux_weight * 0.5 * (cv_squared(&importance) + cv_squared(&load));
        out
    }

    fn scores(&self, t: usize, x: &[f64]) -> Vec<f64> {
        let experts = self.experts.len();
        match &self.router {
            Router::None => vec![0.0; experts],
            Router::Given { scores } => scores[t * experts..(t + 1) * experts].to_vec(),
            Router::Linear { weight } => linear(x, weight, &[], x.len()),
            Router::Cosine { weight, bias, sim, temperature } => {
                let z = linear(x, weight, bias, x.len());
                let column = |e: usize| (0..z.len()).map(move |i| sim[i * experts + e]);
                let norm = |sum: f64| sum.sqrt().max(1e-12);
                let length = norm(z.iter().map(|v| v * v).sum());
                let scale = temperature.exp().min(100.0);
                (0..experts)
                    .map(|e| {
                        let dot: f64 = column(e).zip(&z).map(|(s, z)| s * z).sum();
                        scale * dot / length / norm(column(e).map(|v| v * v).sum())
                    })
                    .collect()
            }
        }
    }
}

impl Adapter {
    /// The matrix `[in, out]` that the expert multiplies a row by.
    fn delta(&self, width: usize, out: usize) -> Vec<f64> {
        let mut h = vec![0.0; width * out];
        match self {
            Adapter::Lora { down, up } => {
                let rank = down.len() / width;
                for (i, h) in h.iter_mut().enumerate() {
                    let (row, col) = (i / out, i % out);
                    *h = (0..rank).map(|r| down[r * width + row] * up[col * rank + r]).sum();
                }
            }
            Adapter::Kronecker { s, v, left, right, keep, factor } => {
                let t = (s.len() as f64).sqrt() as usize;
                let (a, b) = (width / t, out / t);
                let rank = left.len() / (t * a);
                for (n, h) in h.iter_mut().enumerate() {
                    let (row, col) = (n / out, n % out);
                    let (p, k, q, l) = (row / a, row % a, col / b, col % b);
                    for i in 0..t {
                        let inner: f64 = (0..rank)
                            .map(|r| left[(i * a + k) * rank + r] * right[(i * rank + r) * b + l])
                            .sum();
                        *h += s[i * t + p] * v[i * t + q] * inner;
                    }
                    if let Some(&keep) = keep.get(n) {
                        *h *= keep as f64 * factor;
                    }
                }
            }
        }
        h
    }
}

fn cv_squared(v: &[f64]) -> f64 {
    if v.len() < 2 {
        return 0.0;
    }
    let mean = v.iter().sum::<f64>() / v.len() as f64;
    let var = v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (v.len() - 1) as f64;
    var / (mean * mean + 1e-10)
}
