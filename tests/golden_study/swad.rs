//! SWAD on loss curves, under the published program's rule and the textbook's.

use super::common::{Checks, Golden, json, values};
use candle_core::{DType, Device};
use libtest_mimic::{Failed, Trial};
use moa_train::swad::{Choice, Swad, SwadConfig, SwadRule, SwadState, Tensors};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub fn trials(root: &Path) -> Vec<Trial> {
    let dir = root.join("swad");
    let index = json(&dir.join("index.json"));
    let curves = index.as_object().unwrap().clone();
    let trials = curves.into_iter().flat_map(|(name, curve)| {
        [SwadRule::Published, SwadRule::Textbook].map(|rule| {
            let (path, curve) = (dir.join(format!("{name}.safetensors")), curve.clone());
            let shown = format!("swad/{name}/{rule:?}").to_lowercase();
            Trial::test(shown, move || check(path, &curve, rule))
        })
    });
    trials.collect()
}

fn check(path: PathBuf, curve: &Value, rule: SwadRule) -> Result<(), Failed> {
    let (golden, numbers) = (Golden::open(&path), |v: &Value| v.as_u64().unwrap() as usize);
    let config = SwadConfig {
        rule,
        n_converge: numbers(&curve["n_converge"]),
        n_tolerance: numbers(&curve["n_tolerance"]),
        tolerance_ratio: curve["tolerance_ratio"].as_f64().unwrap(),
    };
    let losses: Vec<f64> =
        curve["losses"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let ends: Vec<usize> =
        curve["evaluation_steps"].as_array().unwrap().iter().map(numbers).collect();
    let wanted = if rule == SwadRule::Published { &curve["dense"] } else { &curve["textbook"] };
    let mut checks = Checks::default();
    // As if the run was interrupted, saved and restored after every step.
    let mut swad = Swad::new(&config).unwrap();
    let weights = golden.get("weights_after_step").to_dtype(DType::F32)?;
    for step in 0..weights.dim(0)? {
        let (state, tensors) = swad.save();
        let state: SwadState = serde_json::from_str(&serde_json::to_string(&state)?)?;
        swad = Swad::restore(&config, state, tensors, &Device::Cpu)?.unwrap();
        swad.step(&Tensors::from([("w".to_owned(), weights.get(step)?)]))?;
        if let Some(i) = ends.iter().position(|&end| end == step) {
            swad.close(losses[i])?;
        }
    }
    let found = swad.finish()?;
    let choice = found.as_ref().map_or(Choice::default(), |(_, choice)| choice.clone());
    let stopped = wanted["stopped_at"].as_u64().map(|i| i as usize);
    checks.that("the end of the valley", choice.stopped_at == stopped);
    let threshold = wanted["threshold"].as_f64();
    checks.that("a valley or none", choice.threshold.is_some() == threshold.is_some());
    let gap = choice.threshold.unwrap_or(0.0) - threshold.unwrap_or(0.0);
    checks.close("threshold", &[gap], &[0.0], 1e-12);
    let (segments, average) = match rule {
        SwadRule::Published => {
            let added: Vec<usize> =
                wanted["additions"].as_array().unwrap().iter().map(numbers).collect();
            let base = wanted["base_if_no_additions"].as_u64().map(|base| base as usize);
            let only = if added.is_empty() { base.into_iter().collect() } else { added };
            (only, golden.find("dense_average"))
        }
        _ => {
            let span = wanted["start"].as_u64().zip(wanted["end"].as_u64());
            let all = span.map_or(Vec::new(), |(a, b)| (a as usize..=b as usize).collect());
            (all, golden.find("textbook_average"))
        }
    };
    checks.that(&format!("{:?} instead of {segments:?}", choice.added), choice.added == segments);
    checks.that("an average or none", found.is_some() == average.is_some());
    if let (Some((tensors, _)), Some(average)) = (&found, average) {
        checks.relative("average", &values(&tensors["w"]), &values(average), 2e-6);
    }
    checks.done()
}
