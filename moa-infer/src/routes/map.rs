//! Experts of every patch, by layer.

use crate::predictor::Predictor;
use anyhow::{Context, Result, ensure};
use moa_core::pass::Pass;
use serde::{Deserialize, Serialize};

/// Which experts one layer chose for one image: the first choice of each token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerMap {
    /// Name in the checkpoint, `blocks.0.attn.qkv`.
    pub layer: String,
    /// Number of its experts.
    pub experts: usize,
    /// Of the class token.
    pub cls: u32,
    /// Of the patches, row by row; empty where a layer sees the class token alone (the last
    /// block's, of which nothing else is computed).
    pub grid: Vec<u32>,
}

impl LayerMap {
    /// The share of each expert in the patches, or in the class token if there are none.
    pub fn shares(&self) -> Vec<f64> {
        let tokens =
            if self.grid.is_empty() { std::slice::from_ref(&self.cls) } else { &self.grid };
        let mut shares = vec![0.0; self.experts];
        for &expert in tokens {
            if let Some(share) = shares.get_mut(expert as usize) {
                *share += 1.0 / tokens.len() as f64;
            }
        }
        shares
    }
}

/// Rows and columns of the patches.
pub fn grid(predictor: &Predictor) -> (usize, usize) {
    predictor.classifier.vit.config.grid()
}

/// What the experts of an adapter are called; nothing if there is no router.
pub fn experts(predictor: &Predictor) -> Vec<String> {
    let method = predictor.card.as_ref().map(|card| &card.method);
    let routed = method.filter(|method| method.router.is_some());
    let ranks = routed.and_then(|method| method.adapter.as_ref()).map(|adapter| &adapter.ranks);
    let name = |(expert, rank)| format!("expert {expert} (rank {rank})");
    ranks.into_iter().flatten().enumerate().map(name).collect()
}

/// The maps of a batch of images, as [`Predictor::transform`] gives them: one list for each
/// image, layers in order.
///
/// # Errors
/// If nothing in the model is routed.
pub fn maps(predictor: &Predictor, images: &[Vec<f32>]) -> Result<Vec<Vec<LayerMap>>> {
    let (pass, config) = (Pass::eval().watching(), &predictor.classifier.vit.config);
    predictor.classifier.features(&predictor.input(images)?, &pass)?;
    let (rows, cols) = config.grid();
    let patches = rows * cols;
    let mut all = vec![Vec::new(); images.len()];
    for (layer, routing) in pass.routings() {
        let experts = routing.probs.dim(1)?;
        if experts < 2 {
            continue; // an adapter without a router
        }
        let chosen: Vec<Vec<u32>> =
            routing.indices.to_device(&candle_core::Device::Cpu)?.to_vec2()?;
        let each = chosen.len() / images.len();
        let whole = 1 + config.registers + patches;
        ensure!(each == whole || each == 1, "{}: {each} tokens an image", layer.name);
        for (image, tokens) in all.iter_mut().zip(chosen.chunks(each)) {
            let first = |token: &Vec<u32>| token.first().copied().unwrap_or(0);
            let grid = tokens[each.min(1 + config.registers)..].iter().map(first).collect();
            let cls = tokens.first().map_or(0, first);
            image.push(LayerMap { layer: layer.name.clone(), experts, cls, grid });
        }
    }
    let routed = all.first().is_none_or(|maps| !maps.is_empty());
    routed.then_some(all).context("nothing is routed: the method has no router")
}
