//! Leave-one-environment-out runs of several methods, one after the other.

use crate::config::layers::Layers;
use crate::fit::signals::StopFlag;
use crate::fit::{Outcome, Plan, Run};
use crate::protocol::report::Report;
use anyhow::{Context, Result};
use moa_infer::dataset::{Dataset, DatasetKind};
use moa_infer::exit::{Exit, INTERRUPTED};
use std::path::{Path, PathBuf};

/// A method with settings of its own.
pub struct Entry<'a> {
    /// Preset.
    pub method: &'a str,
    /// `key=value` for this method.
    pub set: &'a [&'a str],
}

/// What to run.
pub struct Study<'a> {
    /// Kind of dataset, as `--dataset` takes it.
    pub dataset: &'a str,
    /// Its folder.
    pub data: &'a str,
    /// Backbone.
    pub backbone: &'a str,
    /// `key=value` for all methods.
    pub set: &'a [&'a str],
    /// Methods.
    pub entries: &'a [Entry<'a>],
    /// Where run folders and reports go.
    pub out: &'a Path,
}

impl Study<'_> {
    /// Trains every method with every environment left out in turn, then writes
    /// `report.md` and `report.html`. Runs that are finished are not repeated,
    /// interrupted ones go on. `say` is told what happens.
    ///
    /// # Errors
    /// What the first failing run reports, with its folder.
    pub fn run(&self, title: &str, mut say: impl FnMut(&str)) -> Result<Report> {
        let kind: DatasetKind = self.dataset.parse()?;
        let dataset = Dataset::open(kind, self.data.as_ref())?;
        let stop = StopFlag::listen()?;
        let total = dataset.envs.len() * self.entries.len();
        let mut done = 0;
        for env in &dataset.envs {
            for entry in self.entries {
                let dir = self.folder(entry, &env.name);
                done += 1;
                let text = self.one(entry, &env.name, &dir, &stop)?;
                say(&format!("[{done}/{total}] {} without {}: {text}", entry.method, env.name));
            }
        }
        crate::report::write(self.out, title)
    }

    fn folder(&self, entry: &Entry<'_>, env: &str) -> PathBuf {
        // One level, as DomainBed's collector reads a sweep.
        self.out.join(format!("{}_{env}", entry.method.replace('/', "-")))
    }

    fn one(&self, entry: &Entry<'_>, env: &str, dir: &Path, stop: &StopFlag) -> Result<String> {
        let mut layers = Layers::default();
        layers.set("data.dataset", self.dataset, "study")?;
        layers.set("data.root", self.data, "study")?;
        layers.set("data.test_env", vec![env], "study")?;
        layers.set("backbone.spec", self.backbone, "study")?;
        layers.set("method.name", entry.method, "study")?;
        self.set.iter().chain(entry.set).try_for_each(|text| layers.set_text(text))?;
        let (config, _) = layers.resolve()?;
        let text = toml::to_string(&config).context("the configuration cannot be written")?;
        let saved = std::fs::read_to_string(dir.join("config.toml")).ok();
        anyhow::ensure!(
            saved.as_ref().is_none_or(|saved| *saved == text),
            "{}: a run with another configuration is there; choose another folder",
            dir.display()
        );
        let run = Run::start(Plan::new(config)?, dir, saved.is_some(), &text, true)?;
        match run.fit(stop).with_context(|| dir.display().to_string())? {
            Outcome::Done { best: (accuracy, step), .. } => {
                Ok(format!("validation {:.1} % after step {}", 100.0 * accuracy, step + 1))
            }
            Outcome::Interrupted(_) => {
                let message = "interrupted; the same command goes on".to_string();
                Err(Exit { code: INTERRUPTED, message }.into())
            }
        }
    }
}
