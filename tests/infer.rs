//! What is trained can be used: `predict`, `eval`, `features`, `merge`, `inspect`.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use support::{drawings, ended, fit_args, infer, lines, stderr, stdout, train};

fn fit(dir: &Path, method: &str) -> String {
    let out = dir.join(method.replace('/', "-")).display().to_string();
    let output = train(&fit_args(&out, method, &["--steps", "8", "--set", "train.eval_every=4"]));
    ended(&output, 0);
    out
}

fn rows(output: &std::process::Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn eval_and_predict_agree_with_training() {
    let dir = tempfile::tempdir().unwrap();
    let run = fit(dir.path(), "kadaptation-moa");
    let best = format!("{run}/best");
    let data = drawings().to_str().unwrap();
    let results = lines(&Path::new(&run).join("results.jsonl"));
    let moa: Value =
        serde_json::from_str(&support::text(&Path::new(&best).join("moa.json"))).unwrap();
    let chosen = moa["training"]["step"].as_u64().unwrap();
    let record = results.iter().find(|r| r["step"].as_u64() == Some(chosen)).unwrap();
    for part in ["in", "out"] {
        let output = infer(&[
            "eval",
            &best,
            "--data",
            data,
            "--test-env",
            "sketch",
            "--split",
            part,
            "--json",
        ]);
        ended(&output, 0);
        let found = &rows(&output)[0]["envs"]["sketch"]["accuracy"];
        assert_eq!(found, &record[format!("env3_{part}_acc")], "split {part}");
    }

    // Image by image: the confusion matrix of all of sketch is what predict says.
    let output = infer(&["eval", &best, "--data", data, "--test-env", "sketch", "--json"]);
    let all = &rows(&output)[0];
    let classes: Vec<&str> =
        all["classes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    let sketches = format!("{data}/sketch");
    let output = infer(&["predict", &best, &sketches, "--format", "jsonl"]);
    ended(&output, 0);
    let mut confusion = vec![vec![0u64; classes.len()]; classes.len()];
    for row in rows(&output) {
        let class = |name: &str| classes.iter().position(|c| *c == name).unwrap();
        let path = Path::new(row["path"].as_str().unwrap());
        let truth = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        confusion[class(truth)][row["topk"][0]["index"].as_u64().unwrap() as usize] += 1;
        assert_eq!(
            row["topk"][0]["label"],
            classes[row["topk"][0]["index"].as_u64().unwrap() as usize]
        );
    }
    assert_eq!(serde_json::json!(confusion), all["envs"]["sketch"]["confusion"]);

    // The same through a list on standard input, a pattern and CSV.
    let pattern = format!("{data}/sketch/*/*.png");
    let csv = infer(&["predict", &best, &pattern, "--format", "csv", "--topk", "2"]);
    ended(&csv, 0);
    assert_eq!(stdout(&csv).lines().count(), 1 + 2 * 42);
    assert!(stdout(&csv).starts_with("path,rank,index,label,prob,error\n"));

    let inspect = infer(&["inspect", &best, "--images", &sketches, "--json"]);
    ended(&inspect, 0);
    let usage = rows(&inspect)[0]["usage"].as_object().unwrap().clone();
    assert_eq!(usage.len(), 3, "one entry for each adapted layer");
}

#[test]
fn merged_equals_unmerged_where_merging_is_exact() {
    let dir = tempfile::tempdir().unwrap();
    let images = format!("{}/photo", drawings().display());
    for method in ["lora", "kadaptation", "full", "bias", "attention", "linear-probe"] {
        let run = fit(dir.path(), method);
        let (best, merged) = (format!("{run}/best"), format!("{run}-merged"));
        let output = infer(&["merge", &best, "--out", &merged]);
        ended(&output, 0);
        let probabilities = |model: &str| -> BTreeMap<String, Vec<(String, f64)>> {
            let output = infer(&["predict", model, &images, "--topk", "7", "--format", "jsonl"]);
            ended(&output, 0);
            let entry =
                |t: &Value| (t["label"].as_str().unwrap().into(), t["prob"].as_f64().unwrap());
            let row = |r: &Value| {
                let path = r["path"].as_str().unwrap().to_string();
                (path, r["topk"].as_array().unwrap().iter().map(entry).collect())
            };
            rows(&output).iter().map(row).collect()
        };
        let (before, after) = (probabilities(&best), probabilities(&merged));
        for (path, wanted) in before {
            let found: BTreeMap<_, _> = after[&path].iter().cloned().collect();
            for (label, p) in wanted {
                assert!(
                    (found[&label] - p).abs() < 1e-4,
                    "{method}: {path} {label} {p} {}",
                    found[&label]
                );
            }
        }
    }
}

#[test]
fn a_routed_mixture_is_not_merged() {
    let dir = tempfile::tempdir().unwrap();
    let run = fit(dir.path(), "lora-moa");
    let merged = format!("{run}-merged");
    let output = infer(&["merge", &format!("{run}/best"), "--out", &merged]);
    ended(&output, 1);
    assert!(stderr(&output).contains("cannot be merged"), "{}", stderr(&output));
    assert!(!Path::new(&merged).exists());
}

#[test]
fn features_of_a_backbone() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("f.npy").display().to_string();
    let images = format!("{}/photo/car", drawings().display());
    ended(&infer(&["features", "tiny", &images, "--out", &out]), 0);
    let index: Value = serde_json::from_str(&support::text(&dir.path().join("f.json"))).unwrap();
    assert_eq!(index["shape"], serde_json::json!([6, 128]));
    assert_eq!(std::fs::read(&out).unwrap().len() % 64, 0);
    let bad = infer(&[
        "features",
        "tiny",
        &images,
        "--out",
        &dir.path().join("f.txt").display().to_string(),
    ]);
    ended(&bad, 1);
}
