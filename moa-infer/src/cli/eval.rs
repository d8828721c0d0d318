//! `moa-infer eval`

use super::{Model, Prompts};
use crate::calibration::Scored;
use crate::dataset::{Dataset, DatasetKind};
use crate::evaluate::evaluate;
use crate::exit::{note, usage};
use crate::metrics::Metrics;
use crate::predictor::Predictor;
use crate::split::split_environment;
use anyhow::{Context, Result};
use candle_core::Device;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Measure accuracy, confusion and calibration on a dataset
#[derive(clap::Args)]
#[command(
    after_help = "Example: moa-infer eval runs/pacs/best --data PACS --dataset pacs --test-env sketch --split in"
)]
pub struct Eval {
    /// Adapter folder, or owner/name[@revision] of the Hub; several with --ensemble
    #[arg(required = true, value_name = "ADAPTER")]
    adapters: Vec<PathBuf>,
    /// Evaluate several adapters as one model: the mean of their logits
    #[arg(long)]
    ensemble: bool,
    /// Divide logits by the temperature that each adapter has from its validation images
    #[arg(long, conflicts_with = "zero_shot")]
    calibrated: bool,
    /// Folder of the dataset
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// pacs, vlcs, office_home, terra_incognita, domain_net or folder
    #[arg(long, value_name = "NAME", default_value = "folder")]
    dataset: String,
    /// Environment to evaluate; repeat for several, leave out for all
    #[arg(long, value_name = "NAME")]
    test_env: Vec<String>,
    /// Which part of each environment: `in` and `out` are DomainBed's splits
    #[arg(long, value_enum, default_value_t = Part::All)]
    split: Part,
    /// Share that is `out`; the adapter's own by default
    #[arg(long, value_name = "SHARE")]
    holdout: Option<f64>,
    /// Seed of the splits; the adapter's own by default
    #[arg(long, value_name = "N")]
    trial_seed: Option<u64>,
    /// Classify by the names of the dataset's classes alone, with a CLIP backbone
    #[arg(long)]
    zero_shot: bool,
    #[command(flatten)]
    prompts: Prompts,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: Model,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Part {
    In,
    Out,
    All,
}

impl Eval {
    pub fn run(self) -> Result<()> {
        let kind: DatasetKind = self.dataset.parse().map_err(|e| usage(format!("{e}")))?;
        let dataset = Dataset::open(kind, &self.data)?;
        dataset.warnings.iter().for_each(note);
        let mut envs = Vec::new();
        for name in &self.test_env {
            let env = dataset.env_index(name).map_err(|e| usage(e.to_string()))?;
            if !envs.contains(&env) {
                envs.push(env);
            }
        }
        if envs.is_empty() {
            envs = (0..dataset.envs.len()).collect();
        }
        if self.adapters.len() > 1 && !self.ensemble {
            return Err(usage("several adapters: --ensemble evaluates them as one model"));
        }
        let device = self.model.device()?;
        let mut scored: Vec<Scored> = Vec::new();
        let mut first: Option<Predictor> = None;
        // One after the other: only one model is in memory.
        for adapter in &self.adapters {
            let predictor = self.member(adapter, &dataset, &device)?;
            let like = first.as_ref().unwrap_or(&predictor);
            if split_of(like) != split_of(&predictor) && self.split != Part::All {
                note("the adapters were trained with other splits: the first one's are used");
            }
            let temperature = if self.calibrated { predictor.temperature()? } else { 1.0 };
            let factor = 1.0 / (temperature * self.adapters.len() as f64);
            for (place, &env) in envs.iter().enumerate() {
                let samples = self.samples(&dataset, env, like)?;
                let name = &dataset.envs[env].name;
                anyhow::ensure!(
                    !samples.is_empty(),
                    "environment `{name}`: this split has no images"
                );
                let options = (self.model.batch_size, self.model.workers);
                let found = evaluate(&predictor, &samples, options, || false)?;
                let found = found.context("the evaluation was interrupted")?;
                if place == scored.len() {
                    let empty = found.logits.iter().map(|row| vec![0.0; row.len()]).collect();
                    scored.push(Scored { logits: empty, labels: found.labels });
                }
                let sums = scored[place].logits.iter_mut().flatten();
                sums.zip(found.logits.iter().flatten())
                    .for_each(|(sum, &z)| *sum += (f64::from(z) * factor) as f32);
            }
            first.get_or_insert(predictor);
        }
        let classes = &dataset.classes;
        let names = envs.iter().map(|&env| dataset.envs[env].name.clone());
        let results: Vec<_> =
            names.zip(scored.iter().map(|set| set.metrics(classes.len(), 1.0))).collect();
        let mut out = std::io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", as_json(&results, classes))?,
            false => print(&results, classes, &mut out)?,
        }
        Ok(())
    }

    /// One adapter, whose classes are those of the dataset.
    fn member(&self, path: &Path, dataset: &Dataset, device: &Device) -> Result<Predictor> {
        let mut predictor = Predictor::open(path, self.model.backbone.as_deref(), device)?;
        if self.zero_shot {
            self.prompts.apply(&mut predictor, &dataset.classes)?;
        }
        let classes = predictor.classes.as_ref();
        let classes = classes.context("the model does not know its classes; give an adapter")?;
        if *classes != dataset.classes {
            anyhow::bail!(
                "{}: the model's {} classes are not the dataset's {}: {}",
                path.display(),
                classes.len(),
                dataset.classes.len(),
                difference(classes, &dataset.classes)
            );
        }
        if let (true, Some(card)) = (self.split != Part::All, &predictor.card) {
            let trained = &card.training.data_sha256;
            if !trained.is_empty() && *trained != dataset.sha256() {
                note("these are not the images of the training run: its splits were others");
            }
        }
        Ok(predictor)
    }

    fn samples(
        &self,
        dataset: &Dataset,
        env: usize,
        predictor: &Predictor,
    ) -> Result<Vec<(PathBuf, usize)>> {
        let all = &dataset.envs[env].samples;
        let training = predictor.card.as_ref().map(|card| &card.training);
        let indices = match self.split {
            Part::All => (0..all.len()).collect(),
            part => {
                let holdout = self.holdout.or(training.map(|t| t.holdout)).ok_or_else(|| {
                    usage("a plain backbone has no splits of its own: give --holdout")
                })?;
                let trial_seed = self.trial_seed.or(training.map(|t| t.trial_seed)).unwrap_or(0);
                let target =
                    training.is_some_and(|t| t.test_envs.contains(&dataset.envs[env].name));
                let split = split_environment(all.len(), holdout, trial_seed, env, target)?;
                if part == Part::In { split.in_ } else { split.out }
            }
        };
        Ok(indices.into_iter().map(|i| (all[i].path.clone(), all[i].class)).collect())
    }
}

/// What decides an adapter's splits.
fn split_of(predictor: &Predictor) -> Option<(f64, u64)> {
    predictor.card.as_ref().map(|card| (card.training.holdout, card.training.trial_seed))
}

/// What only one of two lists of classes has.
fn difference(model: &[String], dataset: &[String]) -> String {
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|name| !b.contains(name)).cloned().collect()
    };
    let some = |names: &[String]| {
        let dots = if names.len() > 5 { ", ..." } else { "" };
        format!("{}{dots}", names.iter().take(5).cloned().collect::<Vec<_>>().join(", "))
    };
    let parts = [("model", only(model, dataset)), ("dataset", only(dataset, model))];
    let parts = parts.iter().filter(|(_, names)| !names.is_empty());
    let text: Vec<String> =
        parts.map(|(whose, names)| format!("only the {whose} has {}", some(names))).collect();
    if text.is_empty() { "their order differs".into() } else { text.join("; ") }
}

fn as_json(results: &[(String, Metrics)], classes: &[String]) -> Value {
    let envs: Map<_, _> = results.iter().map(|(name, m)| (name.clone(), json!(m))).collect();
    json!({"classes": classes, "envs": envs})
}

fn print(
    results: &[(String, Metrics)],
    classes: &[String],
    out: &mut impl Write,
) -> std::io::Result<()> {
    let width = results.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(11);
    writeln!(out, "{:width$}  images  accuracy    ECE    NLL  Brier", "environment")?;
    for (name, m) in results {
        let (accuracy, ece) = (100.0 * m.accuracy, 100.0 * m.ece);
        writeln!(
            out,
            "{name:width$}  {:6}  {accuracy:6.2} %  {ece:4.1} %  {:.3}  {:.3}",
            m.images, m.nll, m.brier
        )?;
    }
    for (name, m) in results {
        writeln!(out, "\n{name}: rows are true classes, columns predictions")?;
        let width = classes.iter().map(String::len).max().unwrap_or(0).clamp(5, 14);
        let cell = |text: &str| format!("{:>width$.width$}", text);
        let head: Vec<String> = classes.iter().map(|c| cell(c)).collect();
        writeln!(out, "{} {}", cell(""), head.join(" "))?;
        for (class, row) in classes.iter().zip(&m.confusion) {
            let counts: Vec<String> = row.iter().map(|n| cell(&n.to_string())).collect();
            writeln!(out, "{} {}", cell(class), counts.join(" "))?;
        }
    }
    Ok(())
}
