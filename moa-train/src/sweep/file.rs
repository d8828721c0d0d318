//! The file of a sweep.

use crate::config::layers::{ConfigError, Layers, insert};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

/// `[sweep]`: what differs between runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepConfig {
    /// Methods: presets, or names of tables in `method`.
    pub methods: Vec<String>,
    /// Seeds of the splits and, with the same number, of everything else.
    #[serde(default = "three")]
    pub trials: Vec<u64>,
    /// Sets of hyper-parameters in each trial: the defaults first, then DomainBed's random ones.
    #[serde(default = "one")]
    pub draws: u64,
    /// Whether every pair of environments is left out as well, for leave-one-domain-out selection.
    #[serde(default)]
    pub pairs: bool,
    /// Environments to leave out; all if there are none.
    #[serde(default)]
    pub test_envs: Vec<String>,
    /// Keys of `fit` with lists of values: every combination, in place of `draws`.
    #[serde(default)]
    pub grid: Table,
    /// Keys of `fit` for one method alone; `method.name` says which preset it changes.
    #[serde(default)]
    pub method: BTreeMap<String, Table>,
    /// Several datasets; without them `data.dataset` is the only one.
    #[serde(default)]
    pub datasets: Vec<DatasetConfig>,
}

/// `[[sweep.datasets]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// As `data.dataset`.
    pub dataset: String,
    /// As `data.root`.
    pub root: String,
    /// Keys of `fit` for this dataset alone.
    #[serde(default)]
    pub set: Table,
}

fn three() -> Vec<u64> {
    vec![0, 1, 2]
}

fn one() -> u64 {
    1
}

/// `[sweep]`, and keys of `fit` for all runs.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepFile {
    /// What differs between runs.
    pub sweep: SweepConfig,
    /// What they have in common.
    pub common: Table,
}

impl SweepFile {
    /// Reads a file, with `key=value` texts that change it, of `fit`'s keys or `sweep.KEY`.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, or has an unknown key.
    pub fn read(path: &Path, set: &[String]) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|e| ConfigError(format!("{name}: {e}")))?;
        Self::parse(&text, &name, set)
    }

    /// As [`SweepFile::read`], of a text; `name` is where it comes from.
    ///
    /// # Errors
    /// As [`SweepFile::read`].
    pub fn parse(text: &str, name: &str, set: &[String]) -> Result<Self, ConfigError> {
        let mut table = crate::config::layers::parse(text, name)?;
        for text in set {
            let (key, value) = crate::config::layers::key_value(text)?;
            insert(&mut table, &key, value);
        }
        let Some(sweep) = table.remove("sweep") else {
            return Err(ConfigError(format!("{name}: no table [sweep] with `methods = [...]`")));
        };
        let sweep = SweepConfig::deserialize(sweep).map_err(|e| {
            let reason = e.message().lines().next().unwrap_or_default().to_string();
            ConfigError(format!("{name}: [sweep]: {reason}"))
        })?;
        let file = Self { sweep, common: table };
        file.check(name)?;
        Ok(file)
    }

    fn check(&self, name: &str) -> Result<(), ConfigError> {
        let sweep = &self.sweep;
        let own = [
            ("data.test_env", "sweep.test_envs"),
            ("data.trial_seed", "sweep.trials"),
            ("train.seed", "sweep.trials"),
            ("train.hparams_seed", "sweep.draws or sweep.grid"),
            ("method.name", "sweep.methods"),
        ];
        let mut wrong = own
            .iter()
            .filter(|(key, _)| lookup(&self.common, key).is_some())
            .map(|(key, by)| format!("{key} is set by {by}"));
        let rules = [
            (sweep.methods.is_empty(), "sweep.methods names no method"),
            (sweep.trials.is_empty(), "sweep.trials names no seed"),
            (sweep.draws == 0, "sweep.draws must be at least 1"),
            (
                sweep.draws > 1 && !sweep.grid.is_empty(),
                "sweep.draws and sweep.grid: choose random hyper-parameters or a grid",
            ),
            (
                !sweep.datasets.is_empty() && lookup(&self.common, "data.dataset").is_some(),
                "data.dataset and sweep.datasets: one of them is enough",
            ),
            (
                sweep.datasets.len() > 1 && !sweep.test_envs.is_empty(),
                "sweep.test_envs needs a single dataset",
            ),
        ];
        let broken = rules.iter().find(|(is, _)| *is).map(|(_, text)| (*text).to_string());
        match wrong.next().or(broken) {
            Some(reason) => Err(ConfigError(format!("{name}: {reason}"))),
            None => Ok(()),
        }
    }

    /// As TOML.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn to_text(&self) -> Result<String, ConfigError> {
        let error = |e: toml::ser::Error| ConfigError(e.to_string());
        let mut table = self.common.clone();
        table.insert("sweep".into(), Table::try_from(&self.sweep).map_err(error)?.into());
        toml::to_string(&table).map_err(error)
    }

    /// Changes the folders and the backbone that it names, so that it can be read anywhere.
    ///
    /// # Errors
    /// What `root` and `backbone` return.
    pub fn relocate<E>(
        &mut self,
        root: impl Fn(&str) -> Result<String, E>,
        backbone: impl Fn(&str) -> Result<String, E>,
    ) -> Result<(), E> {
        let mut change = |key: &str, how: &dyn Fn(&str) -> Result<String, E>| {
            if let Some(value) = lookup(&self.common, key).and_then(Value::as_str) {
                let value = how(value)?;
                insert(&mut self.common, key, value.into());
            }
            Ok(())
        };
        change("data.root", &root)?;
        change("backbone.spec", &backbone)?;
        for dataset in &mut self.sweep.datasets {
            dataset.root = root(&dataset.root)?;
        }
        Ok(())
    }

    /// The layers of what all runs have in common.
    ///
    /// # Errors
    /// If there is no such key.
    pub(super) fn layers(&self, source: &str) -> Result<Layers, ConfigError> {
        let mut layers = Layers::default();
        layers.table(&self.common, source)?;
        Ok(layers)
    }
}

/// The value of `a.b.c`.
pub(super) fn lookup<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((first, rest)) => lookup(table.get(first)?.as_table()?, rest),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = "[sweep]\nmethods = [\"lora\"]\ngrid.optim.lr = [1e-3, 1e-4]\n\
                        [data]\ndataset = \"pacs\"\nroot = \"PACS\"\n";

    #[test]
    fn written_and_read_again() {
        let set = ["sweep.pairs=true".to_string(), "train.steps=7".into()];
        let mut file = SweepFile::parse(TEXT, "a.toml", &set).unwrap();
        assert!(file.sweep.pairs);
        assert_eq!((file.sweep.trials.as_slice(), file.sweep.draws), (&[0, 1, 2][..], 1));
        assert_eq!(lookup(&file.common, "train.steps"), Some(&Value::Integer(7)));
        let whole = |root: &str| Ok::<_, ConfigError>(format!("/{root}"));
        file.relocate(whole, whole).unwrap();
        assert_eq!(lookup(&file.common, "data.root").unwrap().as_str(), Some("/PACS"));
        assert_eq!(SweepFile::parse(&file.to_text().unwrap(), "b.toml", &[]).unwrap(), file);
    }

    #[test]
    fn mistakes_are_one_line() {
        let fails = |set: &str| {
            SweepFile::parse(TEXT, "a.toml", &[set.to_string()]).unwrap_err().to_string()
        };
        assert!(fails("sweep.methodz=1").starts_with("a.toml: [sweep]: unknown field `methodz`"));
        assert_eq!(fails("sweep.methods=[]"), "a.toml: sweep.methods names no method");
        assert_eq!(fails("train.seed=1"), "a.toml: train.seed is set by sweep.trials");
        assert!(fails("sweep.draws=2").ends_with("choose random hyper-parameters or a grid"));
        assert!(
            fails("sweep.trials=2").contains("[sweep]: invalid type"),
            "{}",
            fails("sweep.trials=2")
        );
        let none = SweepFile::parse("[data]\n", "a.toml", &[]).unwrap_err().to_string();
        assert_eq!(none, "a.toml: no table [sweep] with `methods = [...]`");
    }
}
