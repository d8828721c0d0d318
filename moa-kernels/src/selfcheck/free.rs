//! Choices that the scores of tokens make.

use super::case::{bounds, normal, tensor, values};
use super::experts::choosing;
use super::{Gap, Row};
use crate::reference::{Router, worst};
use crate::router::{cosine_scores, project};
use crate::routing::{Gating, Routing};
use candle_core::{DType, Device, Result};

const TOKENS: usize = 500;
const IN: usize = 24;
const P: usize = 16;
const EXPERTS: usize = 7;
const TOP_K: usize = 2;

/// Experts of tokens, and their gates where the experts are the reference's. Other experts may
/// only be chosen where rounding could have moved a score past another.
pub fn choices(device: &Device, dtype: DType) -> Row {
    let bound = bounds(dtype).0;
    let (found, wrong) = match compare(device, dtype) {
        Ok(found) => found,
        Err(e) => (f64::NAN, Some(e.to_string().lines().next().unwrap_or_default().into())),
    };
    let name = format!("free choice, {TOP_K} of {EXPERTS}, cosine router, {TOKENS} tokens");
    Row { name, dtype, value: Gap { found, bound }, gradient: None, wrong }
}

fn compare(device: &Device, dtype: DType) -> Result<(f64, Option<String>)> {
    let trained = if dtype == DType::F64 { dtype } else { DType::F32 };
    let make = |seed, shape: &[usize], scale, dtype| {
        tensor(&normal(seed, shape.iter().product(), scale), shape, dtype, device)
    };
    let x = make(50, &[TOKENS, IN], 1.0, dtype)?;
    let weight = make(51, &[P, IN], 0.3, trained)?;
    let bias = make(52, &[P], 0.2, trained)?;
    let sim = make(53, &[P, EXPERTS], 0.5, trained)?;
    let temperature = tensor(&[1.5], &[1], trained, device)?;

    let (z, _) = project(&x, &weight, Some(&bias), None)?;
    let scores = cosine_scores(&z, &sim, &temperature)?;
    let routing = Routing::new(&scores, None, Gating { top_k: TOP_K, renormalise: false })?;
    let (indices, gates) = (values(&routing.indices)?, values(&routing.gates)?);

    let router = Router::Cosine {
        weight: values(&weight)?,
        bias: values(&bias)?,
        sim: values(&sim)?,
        temperature: 1.5,
    };
    let wanted = choosing(router, EXPERTS, TOP_K).forward(&values(&x)?, IN, &[]);
    let (mut found, mut kept, mut far) = (Vec::new(), Vec::new(), 0);
    for t in 0..TOKENS {
        let places = t * TOP_K..(t + 1) * TOP_K;
        let same = places.clone().all(|i| indices[i] == wanted.indices[i] as f64);
        if same {
            found.extend_from_slice(&gates[places.clone()]);
            kept.extend_from_slice(&wanted.gates[places]);
            continue;
        }
        let mut row = wanted.scores[t * EXPERTS..(t + 1) * EXPERTS].to_vec();
        row.sort_by(|a, b| b.total_cmp(a));
        let margin = row[..=TOP_K].windows(2).map(|w| w[0] - w[1]).fold(f64::INFINITY, f64::min);
        let size = row.iter().fold(0f64, |m, s| m.max(s.abs()));
        far += usize::from(margin > 2.0 * bounds(dtype).0 * size);
    }
    let wrong = (far > 0).then(|| format!("{far} tokens go to other experts without a reason"));
    Ok((worst(&found, &kept), wrong))
}
