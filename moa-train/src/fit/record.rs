//! What an evaluation leaves: a line for people and a record for DomainBed.

use super::evaluation::Evaluation;
use super::plan::Plan;
use super::worth::keys;
use crate::checkpoint::State;
use crate::config::Config;
use crate::protocol::args::Args;
use crate::protocol::record::Record;
use moa_infer::dataset::DatasetKind;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The key of the backbone's hash among the settings in a record.
pub const BACKBONE_HASH: &str = "backbone_sha256";

/// The first digits of a hash, which tell files apart.
pub fn short_hash(sha256: &str) -> String {
    sha256.chars().take(12).collect()
}

/// One line with the accuracy of every environment.
pub fn summary(plan: &Plan, at: u64, evaluation: &Evaluation, better: bool) -> String {
    let envs = &plan.data.dataset.envs;
    let cells: Vec<String> = envs
        .iter()
        .zip(&evaluation.envs)
        .enumerate()
        .map(|(i, (env, acc))| match acc.in_acc {
            Some(inside) if plan.data.test_envs.contains(&i) => {
                format!("{} {:.1} (held out)", env.name, 100.0 * inside)
            }
            _ => format!("{} {:.1}", env.name, 100.0 * acc.out_acc),
        })
        .collect();
    let mark = if better { "  <- best so far" } else { "" };
    let mean = 100.0 * evaluation.train_out;
    format!("after step {}: validation {mean:.1} %  {}{mark}", at + 1, cells.join("  "))
}

/// The name of a folder; what is no folder as it is.
fn short(spec: &str) -> &str {
    let path = Path::new(spec);
    match path.is_absolute() {
        true => path.file_name().and_then(|name| name.to_str()).unwrap_or(spec),
        false => spec,
    }
}

/// The line of `results.jsonl`, with DomainBed's keys.
pub fn record(plan: &Plan, state: &State, at: u64, evaluation: &Evaluation) -> Record {
    let (config, data) = (&plan.config, &plan.data);
    let smallest = data.train_envs().map(|env| data.splits[env].in_.len()).min().unwrap_or(1);
    let images = (at + 1) * config.train.accumulate * config.train.batch_per_env as u64;
    let (sum, count) = state.losses;
    let mean = |total: f64| (count > 0).then(|| total / count as f64);
    let mut hparams = hparams(config);
    hparams.insert(BACKBONE_HASH.into(), short_hash(&plan.backbone.sha256).into());
    Record {
        step: at,
        epoch: images as f64 / smallest as f64,
        loss: mean(sum),
        step_time: mean(state.seconds),
        mem_gb: Some(0.0),
        envs: evaluation.envs.clone(),
        args: Args {
            algorithm: config.label(),
            dataset: data.dataset.name.clone(),
            test_envs: data.test_envs.clone(),
            trial_seed: config.data.trial_seed,
            hparams_seed: config.train.hparams_seed,
            seed: config.train.seed,
            holdout_fraction: config.data.holdout,
            task: "domain_generalization".into(),
            steps: Some(config.train.steps),
            checkpoint_freq: Some(config.train.eval_every),
            uda_holdout_fraction: 0.0,
            env_names: match data.dataset.kind {
                DatasetKind::Folder => data.names(0..data.dataset.envs.len()).unwrap_or_default(),
                _ => Vec::new(),
            },
            extra: Map::new(),
        },
        hparams,
        extra: keys(evaluation),
    }
}

/// The settings in a record, as far as the configuration alone says them.
pub fn hparams(config: &Config) -> Map<String, Value> {
    let hparams = json!({
        "lr": config.optim.lr,
        "batch_size": config.train.batch_per_env,
        "weight_decay": config.optim.weight_decay,
        "resnet_dropout": config.head.dropout,
        "data_augmentation": config.data.augment == crate::config::Augment::Domainbed,
        "class_balanced": false,
        // Not its whole path: runs of several machines share a row.
        "backbone": short(&config.backbone.spec),
        "optimizer": config.optim.kind,
        "schedule": config.optim.schedule,
        "warmup": config.optim.warmup,
        "clip": config.train.clip,
        "accumulate": config.train.accumulate,
        "image_size": config.data.image_size,
        "eval_max_images": config.eval.max_images,
    });
    let mut hparams = hparams.as_object().cloned().unwrap_or_default();
    if config.miro.weight > 0.0 {
        hparams.insert("miro_weight".into(), config.miro.weight.into());
        hparams.insert("miro_lr_mult".into(), config.miro.lr_mult.into());
    }
    hparams
}
