//! `moa-train fit`

use super::ended::ended;
use crate::config::layers::{ConfigError, Layers, Sources};
use crate::config::{Config, keys, saved};
use crate::fit::signals::StopFlag;
use crate::fit::{LOCK_FILE, Outcome, Plan, Run, estimate};
use anyhow::Result;
use moa_infer::exit::{Exit, INTERRUPTED, note, usage};
use moa_infer::spec::{recorded, still_recorded, whole};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Train one run
///
/// Defaults are the paper's. Every flag has a key, and `--set key=value` sets
/// any key; later wins: defaults, preset, --config, flags, --set.
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train fit --data PACS --dataset pacs --test-env sketch \
    --backbone vit-tiny/ --method paper/kadaptation-moa --out runs/sketch")]
pub struct Fit {
    /// Folder of the dataset: <environment>/<class>/<image>
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// pacs, vlcs, office_home, terra_incognita, domain_net or folder
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Environment to hold out; repeat for several
    #[arg(long, value_name = "NAME")]
    test_env: Vec<String>,
    /// Backbone: a folder, a name (`list backbones`) or owner/name[@revision] of the Hub
    #[arg(long, value_name = "SPEC")]
    backbone: Option<String>,
    /// Method (`list methods`)
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// Folder of the run
    #[arg(long, value_name = "RUN", required_unless_present_any = ["dry_run", "help_keys"])]
    out: Option<PathBuf>,
    /// TOML file with any of the keys
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set a key; repeat for several (`--help-keys` lists them)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seed of everything but the splits
    #[arg(long, value_name = "N")]
    seed: Option<i64>,
    /// Seed of the splits
    #[arg(long, value_name = "N")]
    trial_seed: Option<i64>,
    /// Optimiser steps
    #[arg(long, value_name = "N")]
    steps: Option<i64>,
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Less memory for more time: compute values of frozen layers again instead of keeping them
    #[arg(long)]
    checkpoint_activations: bool,
    /// More memory for less time: evaluation keeps what frozen layers give for its images
    #[arg(long)]
    cache_features: bool,
    /// Go on from the newest checkpoint in RUN
    #[arg(long)]
    resume: bool,
    /// Print the configuration, parameter counts and a memory estimate, and stop
    #[arg(long)]
    dry_run: bool,
    /// Print the result (of --dry-run, the configuration) as one JSON object, and no progress
    #[arg(long)]
    json: bool,
    /// List all configuration keys with their defaults, and stop
    #[arg(long)]
    help_keys: bool,
}

impl Fit {
    pub fn run(self) -> Result<()> {
        if self.help_keys {
            let mut out = std::io::stdout().lock();
            for (key, default, meaning) in keys::KEYS {
                writeln!(out, "{key:28} {default:26} {meaning}")?;
            }
            return Ok(());
        }
        let Some(out) = &self.out else { return self.dry(&self.resolve(None)?) };
        let saved = out.join("config.toml");
        if self.resume && !saved.is_file() && occupied(out) {
            return Err(usage(format!("{}: config.toml is missing", out.display())));
        }
        if !self.resume && !self.dry_run && occupied(out) {
            return Err(usage(format!(
                "{} is not empty: `--resume` goes on with it, another --out starts anew",
                out.display()
            )));
        }
        let nowhere = self.resume && !saved.is_file();
        let resolved = self.resolve((self.resume && !nowhere).then_some(&saved));
        let resolved = resolved.map_err(|e| match nowhere {
            true => usage(format!("{}: there is no run to go on with, and {e}", out.display())),
            false => e,
        })?;
        if self.dry_run {
            return self.dry(&resolved);
        }
        self.train(out, resolved)
    }

    /// The configuration, checked against the one of the run that goes on.
    fn resolve(&self, saved: Option<&PathBuf>) -> Result<(Config, Sources)> {
        let (mut config, sources) = self.layers(saved).map_err(|e| usage(e.to_string()))?;
        // Whole paths, so that a run goes on from any folder.
        config.data.root = whole(&config.data.root);
        let spec = &config.backbone.spec;
        let before = saved.and_then(|saved| saved::backbone(saved));
        config.backbone.spec = match before.and_then(|before| still_recorded(spec, &before)) {
            Some(spec) => spec,
            None => recorded(spec)?,
        };
        if let Some(saved) = saved {
            saved::require_same(saved, &config).map_err(|e| usage(e.to_string()))?;
        }
        Ok((config, sources))
    }

    fn plan(&self, config: Config) -> Result<Plan> {
        let plan = Plan::new(config)?;
        plan.data.dataset.warnings.iter().for_each(note);
        note(format_args!("device: {}", moa_core::device::name(&plan.device)));
        match &plan.kept {
            Some(kept) => note(kept),
            None if plan.config.eval.cache_features => {
                note("eval.cache_features: block 0 trains, there is nothing frozen to keep");
            }
            None => {}
        }
        Ok(plan)
    }

    fn dry(&self, (config, sources): &(Config, Sources)) -> Result<()> {
        let plan = self.plan(config.clone())?;
        let (trained, head) = (plan.model.trainable_parameters(), plan.head_parameters());
        let bytes = estimate(&plan);
        let mut out = std::io::stdout().lock();
        if self.json {
            let facts = json!({
                "config": config,
                "trainable_parameters": trained,
                "head_parameters": head,
                "memory_bytes": bytes,
            });
            writeln!(out, "{facts}")?;
            return Ok(());
        }
        write!(out, "{}", saved::to_text(config, sources)?)?;
        writeln!(out, "# trainable parameters: {trained}")?;
        writeln!(out, "# of the head: {head}")?;
        writeln!(out, "# memory: about {} MB", bytes.div_ceil(1_000_000))?;
        Ok(())
    }

    fn train(&self, out: &Path, (config, sources): (Config, Sources)) -> Result<()> {
        let text = saved::to_text(&config, &sources)?;
        let plan = self.plan(config)?;
        note(format_args!(
            "{}: {} trainable parameters besides the head ({} in it)",
            plan.config.label(),
            plan.model.trainable_parameters(),
            plan.head_parameters()
        ));
        let stop = StopFlag::listen()?;
        let run = Run::start(plan, out, self.resume, &text, self.json)?;
        if self.resume {
            match run.step() {
                0 => note("no checkpoint yet: starting from the beginning"),
                step => note(format_args!("going on after step {step}")),
            }
        }
        match run.fit(&stop)? {
            Outcome::Done { best, time } => ended(&out.join("best"), best, time, self.json),
            Outcome::Interrupted(step) => {
                let message = format!(
                    "interrupted after step {step}; the same command with --resume goes on"
                );
                Err(Exit { code: INTERRUPTED, message }.into())
            }
        }
    }

    fn layers(&self, saved: Option<&PathBuf>) -> Result<(Config, Sources), ConfigError> {
        let mut layers = Layers::default();
        if let Some(saved) = saved {
            layers.file(saved)?;
        }
        if let Some(path) = &self.config {
            layers.file(path)?;
        }
        let texts = [
            ("data.root", &self.data, "--data"),
            ("data.dataset", &self.dataset, "--dataset"),
            ("backbone.spec", &self.backbone, "--backbone"),
            ("method.name", &self.method, "--method"),
            ("train.device", &self.device, "--device"),
        ];
        for (key, value, flag) in texts {
            if let Some(value) = value {
                layers.set(key, value.as_str(), flag)?;
            }
        }
        let numbers = [
            ("train.seed", self.seed, "--seed"),
            ("data.trial_seed", self.trial_seed, "--trial-seed"),
            ("train.steps", self.steps, "--steps"),
        ];
        for (key, value, flag) in numbers {
            if let Some(value) = value {
                layers.set(key, value, flag)?;
            }
        }
        if self.checkpoint_activations {
            layers.set("train.checkpoint_activations", true, "--checkpoint-activations")?;
        }
        if self.cache_features {
            layers.set("eval.cache_features", true, "--cache-features")?;
        }
        if !self.test_env.is_empty() {
            layers.set("data.test_env", self.test_env.clone(), "--test-env")?;
        }
        self.set.iter().try_for_each(|text| layers.set_text(text))?;
        layers.resolve()
    }
}

/// True if there is anything that a new run would write over. What a start that
/// failed at its first step leaves is not.
fn occupied(dir: &Path) -> bool {
    let left = |name: &std::ffi::OsStr| {
        [LOCK_FILE, "config.toml", "events.jsonl"].iter().any(|file| name == *file)
    };
    let kept = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.map_or(true, |entry| !left(&entry.file_name()))
    };
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.any(kept))
}
