//! The layers of a plain transformer.

/// `x W^T + b`; `x` `[n, in]`, `w` `[out, in]`, `b` `[out]` or empty.
pub fn linear(x: &[f64], w: &[f64], b: &[f64], width: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for x in x.chunks(width) {
        for (o, w) in w.chunks(width).enumerate() {
            let mut sum = b.get(o).copied().unwrap_or(0.0);
            for i in 0..width {
                sum += x[i] * w[i];
            }
            y.push(sum);
        }
    }
    y
}

/// Layer normalisation of rows as long as `gamma`.
pub fn layer_norm(x: &[f64], gamma: &[f64], beta: &[f64], eps: f64) -> Vec<f64> {
    let n = gamma.len() as f64;
    let mut y = Vec::new();
    for row in x.chunks(gamma.len()) {
        let mean = row.iter().sum::<f64>() / n;
        let var = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        for i in 0..row.len() {
            y.push((row[i] - mean) / (var + eps).sqrt() * gamma[i] + beta[i]);
        }
    }
    y
}

/// Softmax of one row.
pub fn softmax(row: &[f64]) -> Vec<f64> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = row.iter().map(|v| (v - top).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|v| v / sum).collect()
}

/// Attention of one image: `qkv` `[n, 3 d]`, result `[n, d]`.
pub fn attention(qkv: &[f64], tokens: usize, heads: usize) -> Vec<f64> {
    let dim = qkv.len() / tokens / 3;
    let width = dim / heads;
    let at =
        |t: usize, part: usize, h: usize, i: usize| qkv[t * 3 * dim + part * dim + h * width + i];
    let mut out = vec![0.0; tokens * dim];
    for h in 0..heads {
        for t in 0..tokens {
            let score = |u: usize| {
                let dot: f64 = (0..width).map(|i| at(t, 0, h, i) * at(u, 1, h, i)).sum();
                dot / (width as f64).sqrt()
            };
            let p = softmax(&(0..tokens).map(score).collect::<Vec<_>>());
            for i in 0..width {
                let mixed: f64 = (0..tokens).map(|u| p[u] * at(u, 2, h, i)).sum();
                out[t * dim + h * width + i] = mixed;
            }
        }
    }
    out
}

/// `x Phi(x)`.
pub fn gelu(x: f64) -> f64 {
    x * 0.5 * (1.0 + libm::erf(x / 2f64.sqrt()))
}

/// `x sigmoid(1.702 x)`.
pub fn quick_gelu(x: f64) -> f64 {
    x / (1.0 + (-1.702 * x).exp())
}

/// `silu(a) * b` of rows `a, b` of `2 half` elements.
pub fn swiglu(x: &[f64], half: usize) -> Vec<f64> {
    x.chunks(2 * half)
        .flat_map(|row| (0..half).map(|i| row[i] / (1.0 + (-row[i]).exp()) * row[half + i]))
        .collect()
}

/// `x + gamma * y` of rows as long as `gamma`.
pub fn residual(x: &[f64], y: &[f64], gamma: &[f64]) -> Vec<f64> {
    (0..x.len()).map(|i| x[i] + gamma[i % gamma.len()] * y[i]).collect()
}

/// Mean cross-entropy.
pub fn cross_entropy(logits: &[f64], labels: &[u32]) -> f64 {
    let classes = logits.len() / labels.len();
    let rows = logits.chunks(classes).zip(labels);
    rows.map(|(row, &l)| -softmax(row)[l as usize].ln()).sum::<f64>() / labels.len() as f64
}

/// MIRO's penalty of features `x`, `[tokens, b.len()]`, see [`crate::miro::penalty`].
pub fn miro(x: &[f64], target: &[f64], b: &[f64]) -> f64 {
    let each = x.iter().zip(target).enumerate().map(|(i, (x, t))| {
        let v = libm::log(1.0 + libm::exp(b[i % b.len()])) + 1e-5;
        (x - t) * (x - t) / v + libm::log(v)
    });
    each.sum::<f64>() / 2.0 / x.len() as f64
}
