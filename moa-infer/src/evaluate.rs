//! Runs a model over a list of images.

use crate::calibration::Scored;
use crate::predictor::Predictor;
use crate::prefetch::{Prefetch, workers};
use anyhow::{Context, Result};
use moa_core::image::{ImageError, decode_file};
use std::path::PathBuf;

/// Images per forward pass, unless the user says otherwise.
pub const BATCH: usize = 64;

/// The most images that a batch may have.
pub const MAX_BATCH: usize = 16384;

/// Decodes and transforms images ahead, in batches, in order. An image that
/// cannot be read is an error in its place.
pub fn batches(
    predictor: &Predictor,
    paths: Vec<PathBuf>,
    batch: usize,
    threads: usize,
) -> Batches {
    let preprocess = predictor.preprocess.clone();
    let images = Prefetch::new(paths.into_iter(), workers(threads), 2 * batch, move |path| {
        let image = decode_file(&path).map(|image| preprocess.apply(&image));
        (path, image)
    });
    Batches { images, size: batch.max(1) }
}

/// See [`batches`].
pub struct Batches {
    images: Prefetch<(PathBuf, Result<Vec<f32>, ImageError>)>,
    size: usize,
}

impl Iterator for Batches {
    type Item = Vec<(PathBuf, Result<Vec<f32>, ImageError>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch: Vec<_> = self.images.by_ref().take(self.size).collect();
        (!batch.is_empty()).then_some(batch)
    }
}

/// One row of output per image, or why there is none.
pub type Row = (PathBuf, Result<Vec<f32>, ImageError>);

/// Applies `model` to every readable image of a batch and puts the rows back in
/// their places.
///
/// # Errors
/// What `model` returns.
pub fn rows(
    batch: Vec<(PathBuf, Result<Vec<f32>, ImageError>)>,
    model: impl Fn(&[Vec<f32>]) -> Result<Vec<Vec<f32>>>,
) -> Result<Vec<Row>> {
    let mut inputs = Vec::new();
    let mut places = Vec::new();
    for (path, image) in batch {
        places.push((path, image.map(|pixels| inputs.push(pixels))));
    }
    let mut outputs = match inputs.is_empty() {
        true => Vec::new().into_iter(),
        false => model(&inputs)?.into_iter(),
    };
    let fill = |(path, place): (PathBuf, Result<(), ImageError>)| {
        (path, place.map(|()| outputs.next().unwrap_or_default()))
    };
    Ok(places.into_iter().map(fill).collect())
}

/// The logits of labelled images; `stop` is asked between batches.
///
/// # Errors
/// If an image cannot be read: a score over fewer images would not be
/// comparable. `None` if `stop` said so.
pub fn evaluate(
    predictor: &Predictor,
    samples: &[(PathBuf, usize)],
    (batch, threads): (usize, usize),
    stop: impl Fn() -> bool,
) -> Result<Option<Scored>> {
    let paths = samples.iter().map(|(path, _)| path.clone()).collect();
    let mut logits = Vec::with_capacity(samples.len());
    for images in batches(predictor, paths, batch, threads) {
        if stop() {
            return Ok(None);
        }
        for (_, row) in rows(images, |images| predictor.logits(images))? {
            logits.push(row.context("an image of the evaluation cannot be read")?);
        }
    }
    let labels = samples.iter().map(|(_, label)| *label).collect();
    Ok(Some(Scored { logits, labels }))
}
