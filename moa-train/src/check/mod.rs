//! Looking at every image of a dataset before it is trained on.

mod duplicates;
mod findings;

pub use duplicates::{Duplicate, Kind};
pub use findings::{Findings, Problem};

use duplicates::Seen;
use moa_core::image::decode_file;
use moa_infer::dataset::Dataset;
use moa_infer::prefetch::{Prefetch, workers};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// What one image is.
struct Looked {
    env: usize,
    class: usize,
    path: PathBuf,
    /// Width, height and hash of its pixels; or why it cannot be read.
    image: Result<(usize, usize, [u8; 32]), String>,
}

/// Decodes every image, on `threads` threads (0: one per core). `say` is told of each.
pub fn check(dataset: &Dataset, threads: usize, mut say: impl FnMut()) -> Findings {
    let mut images = Vec::new();
    for (env, found) in dataset.envs.iter().enumerate() {
        let sample = |s: &moa_infer::dataset::Sample| (env, s.class, s.path.clone());
        images.extend(found.samples.iter().map(sample));
    }
    let mut findings = Findings::new(dataset);
    let mut seen = Seen::default();
    let look = |(env, class, path): (usize, usize, PathBuf)| {
        let image = look(&path);
        Looked { env, class, path, image }
    };
    for looked in Prefetch::new(images.into_iter(), workers(threads), 64, look) {
        say();
        match &looked.image {
            Ok((width, height, hash)) => {
                findings.count(looked.env, looked.class, (*width, *height));
                let earlier = seen.again(*hash, (looked.env, looked.class, &looked.path));
                findings.duplicates.extend(earlier);
            }
            Err(reason) => {
                let path = looked.path.clone();
                findings.problems.push(Problem { path, reason: reason.clone() });
            }
        }
    }
    findings
}

fn look(path: &std::path::Path) -> Result<(usize, usize, [u8; 32]), String> {
    let image = decode_file(path).map_err(|e| e.to_string())?;
    Ok((image.width, image.height, Sha256::digest(&image.data).into()))
}
