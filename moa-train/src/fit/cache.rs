//! What frozen layers give for the images of an evaluation, kept from one to the next.
//!
//! It never changes, so that later evaluations neither read the images nor compute what
//! is below the first trained part. An image's values do not depend on those beside it:
//! the bits are those of an evaluation from the start.

use super::data::{Data, Part};
use crate::config::Config;
use anyhow::{Context, Result};
use candle_core::Tensor;
use moa_core::backbone::VitConfig;
use moa_core::image::ImageError;
use moa_infer::calibration::Scored;
use moa_infer::evaluate::batches;
use moa_infer::predictor::Predictor;
use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::path::PathBuf;

/// How much will be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The first block with anything that trains; the number of blocks if only the head
    /// does, and the pooled feature is kept.
    pub block: usize,
    /// Whether there is such a block.
    pub tokens: bool,
    /// Images.
    pub images: usize,
    /// Bytes of all of them.
    pub bytes: usize,
}

impl Kept {
    /// What `eval.cache_features` keeps; `None` if it is off or nothing is frozen below the
    /// first trained part.
    ///
    /// # Errors
    /// If it is more than `eval.cache_limit`.
    pub fn plan(config: &Config, data: &Data, vit: &VitConfig) -> Result<Option<Self>, String> {
        let (eval, block) = (&config.eval, config.method.first_trained(vit.depth));
        if !eval.cache_features || block == 0 {
            return Ok(None);
        }
        let (rows, cols) = vit.grid();
        let tokens = block < vit.depth;
        let count = if tokens { rows * cols + 1 + vit.registers } else { 1 };
        let images = data.evaluated().map(|(env, part)| data.count(env, part, eval.max_images));
        let images = images.sum::<usize>();
        let bytes = images * count * vit.dim * size_of::<f32>();
        let kept = Self { block, tokens, images, bytes };
        if kept.mib() > eval.cache_limit {
            let (mib, limit) = (kept.mib(), eval.cache_limit);
            return Err(format!(
                "eval.cache_features needs {mib} MiB for {images} images, eval.cache_limit is \
                 {limit}: raise it, or set eval.max_images"
            ));
        }
        Ok(Some(kept))
    }

    /// Its bytes in MiB, rounded up.
    fn mib(&self) -> u64 {
        self.bytes.div_ceil(1 << 20) as u64
    }
}

impl Display for Kept {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let what = match self.tokens {
            true => format!("what enters block {}", self.block),
            false => "the features".into(),
        };
        write!(f, "evaluation keeps {what} of {} images: {} MiB of memory", self.images, self.mib())
    }
}

/// What is kept, in the batches that it was computed in.
pub struct Cache {
    block: usize,
    parts: BTreeMap<(usize, Part), Vec<Tensor>>,
}

impl Cache {
    /// Nothing yet.
    pub fn new(kept: &Kept) -> Self {
        Self { block: kept.block, parts: BTreeMap::new() }
    }

    /// [`moa_infer::evaluate::evaluate`] of a part, which is read at the first time only.
    ///
    /// # Errors
    /// If an image cannot be read. `None` if `stop` said so.
    pub fn evaluate(
        &mut self,
        predictor: &Predictor,
        part: (usize, Part),
        samples: &[(PathBuf, usize)],
        (batch, threads): (usize, usize),
        stop: impl Fn() -> bool,
    ) -> Result<Option<Scored>> {
        let mut logits = Vec::with_capacity(samples.len());
        if let Some(kept) = self.parts.get(&part) {
            for x in kept {
                if stop() {
                    return Ok(None);
                }
                logits.extend(predictor.logits_above(x, self.block)?);
            }
        } else {
            let (mut kept, paths) = (Vec::new(), samples.iter().map(|(path, _)| path.clone()));
            for images in batches(predictor, paths.collect(), batch, threads) {
                if stop() {
                    return Ok(None);
                }
                let read = images.into_iter().map(|(_, image)| image);
                let pixels: Result<Vec<_>, ImageError> = read.collect();
                let pixels = pixels.context("an image of the evaluation cannot be read")?;
                let x = predictor.below(&pixels, self.block)?;
                logits.extend(predictor.logits_above(&x, self.block)?);
                kept.push(x);
            }
            self.parts.insert(part, kept);
        }
        let labels = samples.iter().map(|(_, label)| *label).collect();
        Ok(Some(Scored { logits, labels }))
    }
}
