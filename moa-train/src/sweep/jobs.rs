//! The runs of a sweep.

use super::file::SweepFile;
use crate::config::layers::{ConfigError, Layers};
use crate::config::{Config, saved};
use crate::protocol::hparams::HParams;
use anyhow::{Context, Result};
use moa_core::method::flatten;
use moa_infer::dataset::{Dataset, DatasetKind};
use moa_infer::exit::usage;
use std::collections::BTreeSet;
use std::path::Path;
use toml::{Table, Value};

/// What values of a sweep's file say of their source.
const SOURCE: &str = "sweep.toml";

/// One run.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its folder below that of the sweep.
    pub name: String,
    /// What it is.
    pub config: Config,
    /// The same, as `config.toml` is written.
    pub text: String,
}

/// A dataset with its environments.
struct Set {
    dataset: String,
    root: String,
    set: Table,
    /// DomainBed's name of it.
    name: String,
    envs: Vec<String>,
}

/// All runs: by trial, dataset, what is left out, method and hyper-parameters, so that the
/// first trial of all methods is there first.
///
/// # Errors
/// If a dataset is not there, or a configuration is wrong.
pub fn expand(file: &SweepFile) -> Result<Vec<Job>> {
    let sets = sets(file)?;
    let mut jobs = Vec::new();
    for &trial in &file.sweep.trials {
        for set in &sets {
            for targets in targets(&set.envs, file.sweep.pairs) {
                for method in &file.sweep.methods {
                    for (seed, values) in (0..).zip(hparams(file, &set.name, trial)) {
                        let job = job(file, set, &targets, method, (trial, seed), &values);
                        jobs.push(job.map_err(|e| usage(e.to_string()))?);
                    }
                }
            }
        }
    }
    let mut names = BTreeSet::new();
    match jobs.iter().find(|job| !names.insert(&job.name)) {
        Some(job) => Err(usage(format!("two runs of the sweep would be called {}", job.name))),
        None => Ok(jobs),
    }
}

fn sets(file: &SweepFile) -> Result<Vec<Set>> {
    let text = |key: &str| super::file::lookup(&file.common, key).and_then(Value::as_str);
    let mut given: Vec<(String, String, Table)> = Vec::new();
    for entry in &file.sweep.datasets {
        given.push((entry.dataset.clone(), entry.root.clone(), entry.set.clone()));
    }
    if given.is_empty() {
        let root = text("data.root").ok_or_else(|| usage("data.root is not set"))?;
        given.push((text("data.dataset").unwrap_or("folder").into(), root.into(), Table::new()));
    }
    let open = |(dataset, root, set): (String, String, Table)| {
        let kind: DatasetKind = dataset.parse().map_err(|e| usage(format!("{e}")))?;
        let found = Dataset::open(kind, Path::new(&root))?;
        let mut envs: Vec<_> = found.envs.iter().map(|env| env.name.clone()).collect();
        if !file.sweep.test_envs.is_empty() {
            let named = file.sweep.test_envs.iter().map(|name| Ok(found.env(name)?.name.clone()));
            envs = named.collect::<Result<_>>().map_err(|e| usage(e.to_string()))?;
        }
        Ok(Set { dataset, root, set, name: found.name, envs })
    };
    given.into_iter().map(open).collect()
}

/// What is left out, in DomainBed's order: an environment, then its pairs with later ones.
fn targets(envs: &[String], pairs: bool) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (i, first) in envs.iter().enumerate() {
        all.push(vec![first.clone()]);
        let later = envs[i + 1..].iter().filter(|_| pairs);
        all.extend(later.map(|second| vec![first.clone(), second.clone()]));
    }
    all
}

/// The sets of hyper-parameters, by their seed.
fn hparams(file: &SweepFile, dataset: &str, trial: u64) -> Vec<Vec<(String, Value)>> {
    if file.sweep.grid.is_empty() {
        return (0..file.sweep.draws).map(|seed| drawn(dataset, seed, trial)).collect();
    }
    let mut all: Vec<Vec<(String, Value)>> = vec![Vec::new()];
    flatten("", &file.sweep.grid, &mut |key, values| {
        let values = values.as_array().cloned().unwrap_or_else(|| vec![values.clone()]);
        let with = |before: &Vec<(String, Value)>, value: &Value| {
            [before.as_slice(), &[(key.to_string(), value.clone())]].concat()
        };
        all = all
            .iter()
            .flat_map(|b| values.iter().map(|v| with(b, v)).collect::<Vec<_>>())
            .collect();
    });
    all
}

/// DomainBed's random hyper-parameters; seed 0 stands for what the file says.
fn drawn(dataset: &str, seed: u64, trial: u64) -> Vec<(String, Value)> {
    if seed == 0 {
        return Vec::new();
    }
    let drawn = HParams::of_seed(dataset, seed, trial);
    vec![
        ("optim.lr".into(), drawn.lr.into()),
        ("train.batch_per_env".into(), (drawn.batch_size as i64).into()),
        ("optim.weight_decay".into(), drawn.weight_decay.into()),
        ("head.dropout".into(), drawn.resnet_dropout.into()),
    ]
}

fn job(
    file: &SweepFile,
    set: &Set,
    targets: &[String],
    method: &str,
    (trial, seed): (u64, u64),
    values: &[(String, Value)],
) -> std::result::Result<Job, ConfigError> {
    let mut layers: Layers = file.layers(SOURCE)?;
    layers.set("data.dataset", set.dataset.as_str(), SOURCE)?;
    layers.set("data.root", set.root.as_str(), SOURCE)?;
    layers.table(&set.set, SOURCE)?;
    let own = file.sweep.method.get(method);
    if own.is_none_or(|own| super::file::lookup(own, "method.name").is_none()) {
        layers.set("method.name", method, SOURCE)?;
    }
    if let Some(own) = own {
        layers.table(own, SOURCE)?;
    }
    for (key, value) in values {
        layers.set(key, value.clone(), SOURCE)?;
    }
    layers.set("data.test_env", targets.to_vec(), SOURCE)?;
    layers.set("data.trial_seed", trial as i64, SOURCE)?;
    layers.set("train.seed", trial as i64, SOURCE)?;
    layers.set("train.hparams_seed", seed as i64, SOURCE)?;
    let (config, sources) = layers.resolve()?;
    let text = saved::to_text(&config, &sources).map_err(|e| ConfigError(e.to_string()))?;
    let targets = targets.join("+");
    let name = format!("{}_{method}_{targets}_t{trial}_h{seed}", set.name);
    let plain = |c: char| if c.is_alphanumeric() || "._+-".contains(c) { c } else { '-' };
    Ok(Job { name: name.chars().map(plain).collect(), config, text })
}

impl Job {
    /// Its environments left out, for people.
    pub fn targets(&self) -> String {
        self.config.data.test_env.join(" and ")
    }
}

/// The runs of the sweep in a folder.
///
/// # Errors
/// If its `sweep.toml` cannot be read.
pub fn read(path: &Path) -> Result<Vec<Job>> {
    let file = SweepFile::read(path, &[]).map_err(|e| usage(e.to_string()))?;
    expand(&file).with_context(|| path.display().to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_once() {
        let dir = tempfile::tempdir().unwrap();
        crate::synth::write_dataset(&dir.path().join("set"), 0, 1, 16).unwrap();
        let text = format!(
            "[sweep]\nmethods = [\"lora\", \"wide\"]\ntrials = [0, 5]\ngrid.optim.lr = [1e-3, 1e-4]\n\
             [sweep.method.wide]\nmethod.name = \"lora\"\nmethod.adapter.ranks = [16]\n\
             [data]\nroot = {:?}\n[backbone]\nspec = \"tiny\"\n",
            dir.path().join("set")
        );
        let jobs = |set: &str| {
            let file = SweepFile::parse(&text, "s", &[set.to_string()]).unwrap();
            expand(&file).unwrap()
        };
        let all = jobs("train.steps=3");
        assert_eq!(all.len(), 2 * 2 * 4 * 2);
        assert_eq!(all[0].name, "set_lora_art_t0_h0");
        assert_eq!(all[3].name, "set_wide_art_t0_h1");
        let config = &all[3].config;
        assert_eq!((config.optim.lr, config.train.hparams_seed), (1e-4, 1));
        assert_eq!(config.label(), "lora+adapter.ranks=[16]");
        assert_eq!((config.train.seed, config.data.trial_seed), (0, 0));
        assert_eq!(all[31].config.data.trial_seed, 5);
        // Ten pairs and singles of four environments.
        assert_eq!(jobs("sweep.pairs=true").len(), 2 * 2 * 10 * 2);
        assert_eq!(jobs("sweep.test_envs=[\"photo\"]").len(), 2 * 2 * 2);
    }

    #[test]
    fn draws_are_domain_beds() {
        let values = drawn("VLCS", 1, 0);
        assert_eq!(values[1], ("train.batch_per_env".into(), Value::Integer(39)));
        assert!(drawn("VLCS", 0, 0).is_empty());
    }
}
