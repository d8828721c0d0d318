//! What is trained can be used: `predict`, `eval`, `features`, `merge`, `inspect`.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use support::{drawings, ended, fit_args, infer, lines, stderr, stdout, train};

/// A short run; after a `+` in the method a key that is set.
fn fit(dir: &Path, method: &str) -> String {
    let out = dir.join(method.replace('/', "-")).display().to_string();
    let (method, set) = method.split_once('+').unwrap_or((method, "train.eval_every=4"));
    let set = ["--steps", "8", "--set", "train.eval_every=4", "--set", set];
    let output = train(&fit_args(&out, method, &set));
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
    let linear = "compacter+method.adapter.activation=none";
    for method in ["lora", "kadaptation", linear, "full", "bias", "attention", "linear-probe"] {
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
fn what_no_matrix_computes_is_not_merged() {
    let dir = tempfile::tempdir().unwrap();
    let run = fit(dir.path(), "compacter");
    let output = infer(&["merge", &format!("{run}/best"), "--out", &format!("{run}-merged")]);
    ended(&output, 1);
    assert!(stderr(&output).contains("method.adapter.activation=none"), "{}", stderr(&output));
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
    ended(&bad, 2);
}

#[test]
fn ensembles_and_calibration() {
    let dir = tempfile::tempdir().unwrap();
    let data = drawings().display().to_string();
    let best: Vec<String> =
        ["lora", "full"].iter().map(|method| format!("{}/best", fit(dir.path(), method))).collect();
    let eval = |adapters: &[&str], more: &[&str]| {
        let set = ["--data", &data, "--test-env", "sketch", "--json"];
        infer(&[&["eval"], adapters, &set, more].concat())
    };
    let sketch = |output: std::process::Output| {
        ended(&output, 0);
        rows(&output)[0]["envs"]["sketch"].clone()
    };
    // Probabilities of the ensemble are those of the mean of logits.
    let images = format!("{data}/sketch/car");
    let logits = |model: &str| -> Vec<Vec<f64>> {
        let output = infer(&["predict", model, &images, "--topk", "7", "--json"]);
        ended(&output, 0);
        let row = |row: Value| {
            let mut of = vec![0.0; 7];
            for entry in row["topk"].as_array().unwrap() {
                let index = entry["index"].as_u64().unwrap() as usize;
                of[index] = entry["prob"].as_f64().unwrap().ln();
            }
            of
        };
        rows(&output).into_iter().map(row).collect()
    };
    let (a, b) = (logits(&best[0]), logits(&best[1]));
    let together = sketch(eval(&[&best[0], &best[1]], &["--ensemble"]));
    let car = 0;
    let answers: Vec<usize> = a
        .iter()
        .zip(&b)
        .map(|(a, b)| {
            let sums: Vec<f64> = a.iter().zip(b).map(|(a, b)| a + b).collect();
            (0..7).max_by(|&i, &j| sums[i].total_cmp(&sums[j])).unwrap()
        })
        .collect();
    let names: Vec<Value> = rows(&eval(&[&best[0]], &[]))[0]["classes"].as_array().unwrap().clone();
    assert_eq!(names[car], "car", "{names:?}");
    for class in 0..7 {
        let count = answers.iter().filter(|&&answer| answer == class).count();
        assert_eq!(together["confusion"][car][class], count);
    }
    let alone = sketch(eval(&[&best[0]], &[]));
    assert_eq!(alone, sketch(eval(&[&best[0]], &["--ensemble"])));

    // The temperature changes how sure the answers are, not which.
    let calibrated = sketch(eval(&[&best[0]], &["--calibrated"]));
    assert_eq!(calibrated["confusion"], alone["confusion"]);
    assert_ne!(calibrated["nll"], alone["nll"]);
    let run = Path::new(&best[0]).parent().unwrap();
    let worth: Value = serde_json::from_str(&support::text(&run.join("evaluation.json"))).unwrap();
    let parts = worth["parts"].as_array().unwrap();
    let part = parts.iter().find(|p| p["env"] == "sketch" && p["part"] == "in").unwrap();
    let split = sketch(eval(&[&best[0]], &["--calibrated", "--split", "in"]));
    let close = |key: &str| {
        let gap = part["calibrated"][key].as_f64().unwrap() - split[key].as_f64().unwrap();
        assert!(gap.abs() < 1e-5, "{key}: {gap}");
    };
    ["nll", "ece", "brier", "accuracy"].iter().for_each(|key| close(key));

    let predict = |more: &[&str]| infer(&[&["predict", &best[0], &images], more].concat());
    let text = stdout(&predict(&["--calibrated", "--min-prob", "1"]));
    assert_eq!(text.matches("  uncertain: ").count(), 6, "{text}");
    let csv = stdout(&predict(&["--format", "csv", "--min-prob", "0"]));
    assert!(csv.starts_with("path,rank,index,label,prob,error,uncertain\n"), "{csv}");
    assert!(csv.lines().skip(1).all(|line| line.ends_with(",,false")), "{csv}");
    assert_eq!(rows(&predict(&["--json", "--min-prob", "1"]))[0]["uncertain"], true);

    let several = eval(&[&best[0], &best[1]], &[]);
    ended(&several, 2);
    assert!(stderr(&several).contains("--ensemble"), "{}", stderr(&several));
    let merged = dir.path().join("merged").display().to_string();
    ended(&infer(&["merge", &best[0], "--out", &merged]), 0);
    let plain = infer(&["predict", &merged, &images, "--calibrated"]);
    ended(&plain, 1);
    assert!(stderr(&plain).contains("no temperature"), "{}", stderr(&plain));
}

#[test]
fn routes_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let best = format!("{}/best", fit(dir.path(), "kadaptation-moa"));
    let out = dir.path().join("routes");
    let cars = format!("{}/*/car/*", drawings().display());
    let bad = dir.path().join("bad.png");
    std::fs::write(&bad, "no image").unwrap();
    let draw = |adapter: &str, out: &Path| {
        infer(&["routes", adapter, &cars, bad.to_str().unwrap(), "--out", out.to_str().unwrap()])
    };
    let output = draw(&best, &out);
    ended(&output, 1); // one image could not be read
    assert!(stdout(&output).starts_with("24 pictures in "), "{}", stdout(&output));
    let routes: Value = serde_json::from_str(&support::text(&out.join("routes.json"))).unwrap();
    let images = routes["images"].as_array().unwrap();
    assert_eq!(images.len(), 24);
    let patches = routes["grid"][0].as_u64().unwrap() * routes["grid"][1].as_u64().unwrap();
    for image in images {
        let picture = std::fs::read(out.join(image["picture"].as_str().unwrap())).unwrap();
        assert!(picture.starts_with(b"\x89PNG"));
        for layer in image["layers"].as_array().unwrap() {
            let grid = layer["grid"].as_array().unwrap();
            assert_eq!(grid.len() as u64, patches, "{layer}");
            assert!(grid.iter().all(|expert| expert.as_u64().unwrap() < 4));
        }
    }
    let lora = format!("{}/best", fit(dir.path(), "lora"));
    let output = draw(&lora, &dir.path().join("none"));
    ended(&output, 1);
    assert!(stderr(&output).contains("no router"), "{}", stderr(&output));
    assert!(!dir.path().join("none").exists());
}
