//! Features and routes of some images of every environment and class.

use super::{Analysis, Environment, ImageMaps, LayerUsage, Point, pca, tsne};
use crate::fit::{Data, Part};
use anyhow::{Context, Result};
use base64::Engine;
use moa_infer::evaluate::batches;
use moa_infer::predictor::Predictor;
use moa_infer::routes::map::{LayerMap, experts, grid, maps};
use moa_infer::routes::picture::{as_seen, png};
use std::path::PathBuf;

/// How much is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Images of each environment and class.
    pub images: usize,
    /// Of these, how many with their maps.
    pub maps: usize,
    /// Images per forward pass, and threads that read them.
    pub how: (usize, usize),
    /// Seed of the map of features.
    pub seed: u64,
}

/// One image that is looked at.
struct Chosen {
    env: usize,
    class: usize,
    /// Whether its maps are kept.
    shown: bool,
    path: PathBuf,
}

/// Looks at images that nothing was trained on: the validation part of training environments,
/// the in-part of those left out.
///
/// # Errors
/// If an image cannot be read.
pub fn look(predictor: &Predictor, data: &Data, amount: Amount) -> Result<Analysis> {
    let classes = &data.dataset.classes;
    let chosen = choose(data, amount);
    let mut analysis = Analysis {
        classes: classes.clone(),
        envs: environments(data),
        experts: experts(predictor),
        grid: grid(predictor),
        ..Analysis::default()
    };
    let routed = !analysis.experts.is_empty();
    let mut features: Vec<Vec<f32>> = Vec::new();
    let paths = chosen.iter().map(|image| image.path.clone()).collect();
    let (size, threads) = amount.how;
    let mut images = chosen.iter();
    for batch in batches(predictor, paths, size, threads) {
        let pixels: Result<Vec<_>, _> = batch.into_iter().map(|(_, image)| image).collect();
        let pixels = pixels.context("an image cannot be read")?;
        features.extend(predictor.features(&pixels)?);
        let all = if routed { maps(predictor, &pixels)? } else { vec![Vec::new(); pixels.len()] };
        for ((pixels, layers), image) in pixels.iter().zip(all).zip(&mut images) {
            count(&mut analysis, image, &layers);
            if image.shown && routed {
                let png = png(&as_seen(pixels, &predictor.preprocess)?)?;
                let png = base64::engine::general_purpose::STANDARD.encode(png);
                let (env, class) = (image.env, image.class);
                analysis.maps.push(ImageMaps { env, class, png, layers });
            }
        }
    }
    let (flat, near) = (pca::project(&features), tsne::embed(&features, amount.seed));
    let point = |((image, pca), tsne): ((&Chosen, [f64; 2]), [f64; 2])| Point {
        env: image.env,
        class: image.class,
        pca,
        tsne,
    };
    analysis.points = chosen.iter().zip(flat).zip(near).map(point).collect();
    Ok(analysis)
}

fn environments(data: &Data) -> Vec<Environment> {
    let env = |(i, env): (usize, &moa_infer::dataset::Env)| Environment {
        name: env.name.clone(),
        held_out: data.test_envs.contains(&i),
    };
    data.dataset.envs.iter().enumerate().map(env).collect()
}

fn choose(data: &Data, amount: Amount) -> Vec<Chosen> {
    let mut chosen = Vec::new();
    for env in 0..data.dataset.envs.len() {
        let part = if data.test_envs.contains(&env) { Part::In } else { Part::Out };
        let samples = data.samples(env, part, 0);
        for class in 0..data.dataset.classes.len() {
            let of_class = samples.iter().filter(|(_, of)| *of == class).take(amount.images);
            chosen.extend(of_class.enumerate().map(|(i, (path, _))| Chosen {
                env,
                class,
                shown: i < amount.maps,
                path: path.clone(),
            }));
        }
    }
    chosen
}

/// Adds an image's tokens, the class token among them.
fn count(analysis: &mut Analysis, image: &Chosen, layers: &[LayerMap]) {
    let (envs, classes) = (analysis.envs.len(), analysis.classes.len());
    for (place, map) in layers.iter().enumerate() {
        if place == analysis.usage.len() {
            let tokens = vec![vec![vec![0; map.experts]; classes]; envs];
            analysis.usage.push(LayerUsage { layer: map.layer.clone(), tokens });
        }
        let tokens = &mut analysis.usage[place].tokens[image.env][image.class];
        for &expert in map.grid.iter().chain([&map.cls]) {
            if let Some(count) = tokens.get_mut(expert as usize) {
                *count += 1;
            }
        }
    }
}
