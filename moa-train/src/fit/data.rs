//! The images of a run: environments, splits, who trains and who is held out.

use crate::batches::Pool;
use crate::config::Config;
use anyhow::{Context, Result};
use moa_infer::dataset::{Dataset, DatasetKind};
use moa_infer::exit::usage;
use moa_infer::split::{Split, split_environment};
use std::path::PathBuf;
use std::sync::Arc;

/// A dataset with its splits.
pub struct Data {
    /// The dataset.
    pub dataset: Arc<Dataset>,
    /// Indices of held-out environments.
    pub test_envs: Vec<usize>,
    /// The split of each environment.
    pub splits: Vec<Split>,
}

/// A part of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What is trained on; of a held-out environment, what is reported.
    In,
    /// The validation part.
    Out,
}

impl Data {
    /// Opens and splits the dataset of a configuration.
    ///
    /// # Errors
    /// If the folder is not a dataset, an environment does not exist, or nothing
    /// is left to train on or to validate with.
    pub fn open(config: &Config) -> Result<Self> {
        let data = &config.data;
        let kind: DatasetKind = data.dataset.parse().map_err(|e| usage(format!("{e}")))?;
        let dataset = Dataset::open(kind, data.root.as_ref())?;
        dataset.require_environments(2)?;
        let mut test_envs = Vec::new();
        for name in &data.test_env {
            let index = dataset.env_index(name).map_err(|e| usage(e.to_string()))?;
            if !test_envs.contains(&index) {
                test_envs.push(index);
            }
        }
        test_envs.sort_unstable();
        if test_envs.len() == dataset.envs.len() {
            return Err(usage("every environment is held out; none is left to train on"));
        }
        let mut splits = Vec::new();
        for (index, env) in dataset.envs.iter().enumerate() {
            let target = test_envs.contains(&index);
            let split =
                split_environment(env.samples.len(), data.holdout, data.trial_seed, index, target)?;
            if !target && split.in_.is_empty() {
                anyhow::bail!("environment `{}` has too few images to split", env.name);
            }
            splits.push(split);
        }
        let data = Self { dataset: Arc::new(dataset), test_envs, splits };
        anyhow::ensure!(
            data.train_envs().any(|env| !data.splits[env].out.is_empty()),
            "nothing to validate with: data.holdout = {} leaves no image out",
            config.data.holdout
        );
        Ok(data)
    }

    /// Indices of the environments that are trained on.
    pub fn train_envs(&self) -> impl Iterator<Item = usize> {
        (0..self.dataset.envs.len()).filter(|env| !self.test_envs.contains(env))
    }

    /// What every evaluation looks at: the out-part of every environment and the in-part of
    /// held-out ones (the reference code's fast mode).
    pub fn evaluated(&self) -> impl Iterator<Item = (usize, Part)> {
        let parts =
            (0..self.dataset.envs.len()).flat_map(|env| [(env, Part::Out), (env, Part::In)]);
        parts.filter(|(env, part)| *part == Part::Out || self.test_envs.contains(env))
    }

    /// Paths and classes of a part, at most `limit` of them (0 for all).
    pub fn samples(&self, env: usize, part: Part, limit: usize) -> Vec<(PathBuf, usize)> {
        labelled(&self.dataset, env, self.indices(env, part), limit)
    }

    /// How many samples a part has, at most `limit` (0 for all).
    pub fn count(&self, env: usize, part: Part, limit: usize) -> usize {
        let all = self.indices(env, part).len();
        if limit == 0 { all } else { all.min(limit) }
    }

    fn indices(&self, env: usize, part: Part) -> &[usize] {
        match part {
            Part::In => &self.splits[env].in_,
            Part::Out => &self.splits[env].out,
        }
    }
}

/// Paths and classes of some samples of an environment, at most `limit` (0 for all).
pub fn labelled(
    dataset: &Dataset,
    env: usize,
    indices: &[usize],
    limit: usize,
) -> Vec<(PathBuf, usize)> {
    let limit = if limit == 0 { indices.len() } else { limit };
    let sample = |&i: &usize| {
        let sample = &dataset.envs[env].samples[i];
        (sample.path.clone(), sample.class)
    };
    indices.iter().take(limit).map(sample).collect()
}

impl Data {
    /// The in-parts of the training environments.
    pub fn pools(&self) -> Vec<Pool> {
        let indices = |env: usize| self.splits[env].in_.clone();
        let pool = |env| Pool { dataset: self.dataset.clone(), env, indices: indices(env) };
        self.train_envs().map(pool).collect()
    }

    /// Names of some environments.
    ///
    /// # Errors
    /// If an index is out of range.
    pub fn names(&self, envs: impl IntoIterator<Item = usize>) -> Result<Vec<String>> {
        let name = |env: usize| self.dataset.envs.get(env).map(|e| e.name.clone());
        envs.into_iter().map(|env| name(env).context("no such environment")).collect()
    }
}
