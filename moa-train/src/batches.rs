//! Batches of training images: which ones, read and augmented ahead.
//!
//! Everything random about an image depends on seed, step and its place in the
//! batch alone, so that batches are the same for any number of threads.

use crate::augment::Augment as Transform;
use crate::config::Augment;
use moa_core::image::{ImageError, Normalise, Preprocess, decode_file};
use moa_infer::dataset::{Dataset, Sample};
use moa_infer::prefetch::{Prefetch, workers};
use moa_kernels::rng::{Key, Purpose};
use std::sync::Arc;

/// The in-part of one training environment.
#[derive(Clone)]
pub struct Pool {
    /// All images; a dataset may have half a million paths, which are held once.
    pub dataset: Arc<Dataset>,
    /// The environment.
    pub env: usize,
    /// Those of it that are trained on.
    pub indices: Vec<usize>,
}

impl Pool {
    /// Its image number `index`.
    pub fn sample(&self, index: usize) -> &Sample {
        &self.dataset.envs[self.env].samples[self.indices[index]]
    }
}

/// One micro-batch, ready for the model.
pub struct Batch {
    /// Normalised pixels, `[images, 3, h, w]` flat.
    pub pixels: Vec<f32>,
    /// Classes.
    pub labels: Vec<u32>,
}

/// What decides the batches of a run.
#[derive(Clone)]
pub struct Plan {
    /// Training environments in order.
    pub pools: Arc<Vec<Pool>>,
    /// Images per environment.
    pub per_env: usize,
    /// The run's seed.
    pub seed: u64,
    /// Augmentation.
    pub augment: Augment,
    /// Size, mean and deviation of the input.
    pub preprocess: Preprocess,
}

impl Plan {
    /// Which images form micro-batch `micro`: `per_env` of each environment in
    /// turn, drawn with replacement (DomainBed's infinite loader).
    pub fn indices(&self, micro: u32) -> Vec<(usize, usize)> {
        let key = Key::new(self.seed, Purpose::Sampling, micro);
        let of_env = |(env, pool): (usize, &Pool)| {
            let (mut draws, n) = (key.draws(env as u64), pool.indices.len() as u32);
            (0..self.per_env).map(move |_| (env, draws.below(n) as usize)).collect::<Vec<_>>()
        };
        self.pools.iter().enumerate().flat_map(of_env).collect()
    }

    /// Reads and transforms micro-batch `micro`.
    ///
    /// # Errors
    /// If an image cannot be read.
    pub fn load(&self, micro: u32) -> Result<Batch, ImageError> {
        let key = Key::new(self.seed, Purpose::Augment, micro);
        let (h, w) = (self.preprocess.height, self.preprocess.width);
        let normalise = Normalise::new(self.preprocess.mean, self.preprocess.std);
        let size = 3 * h * w;
        let indices = self.indices(micro);
        let mut pixels = vec![0.0; indices.len() * size];
        let mut labels = Vec::with_capacity(indices.len());
        for (place, (&(env, index), out)) in indices.iter().zip(pixels.chunks_mut(size)).enumerate()
        {
            let sample = self.pools[env].sample(index);
            let image = decode_file(&sample.path)?;
            match self.augment {
                Augment::None => self.preprocess.apply_into(&image, out),
                Augment::Domainbed => {
                    let mut draws = key.draws(place as u64);
                    let plan = Transform::DOMAINBED.draw(image.height, image.width, &mut draws);
                    normalise.apply_into(&plan.apply(&image, h, w), out);
                }
            }
            labels.push(sample.class as u32);
        }
        Ok(Batch { pixels, labels })
    }

    /// Micro-batches from `first` on, read ahead on `threads` threads.
    pub fn start(&self, first: u32, threads: usize) -> Prefetch<Result<Batch, ImageError>> {
        let plan = self.clone();
        Prefetch::new(first.., workers(threads), 1, move |micro| plan.load(micro))
    }
}
