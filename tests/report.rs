//! What `analyse` and `report` leave behind, with the real binaries.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::path::Path;
use support::{ended, fit_args, lines, stderr, stdout, text, train};

fn fit(dir: &Path, name: &str, method: &str, more: &[&str]) {
    let out = dir.join(name).display().to_string();
    let set = ["--steps", "6", "--set", "train.eval_every=3", "--set", "eval.max_images=20"];
    ended(&train(&fit_args(&out, method, &[&set, more].concat())), 0);
}

#[test]
fn tables_comparisons_and_pictures() {
    let dir = tempfile::tempdir().unwrap();
    for (trial, seed) in [("0", "0"), ("1", "1")] {
        let more = ["--trial-seed", trial, "--seed", seed];
        fit(dir.path(), &format!("moa-{trial}"), "lora-moa", &more);
        fit(dir.path(), &format!("lora-{trial}"), "lora", &more);
    }
    let at = |name: &str| dir.path().join(name);
    let all = dir.path().display().to_string();
    let run = at("moa-0").display().to_string();
    let curved = ["--surface", "--points", "3", "--spectrum", "--lanczos", "3", "--starts", "1"];
    let few = ["analyse", &run, "--images", "3", "--loss-images", "6", "--device", "cpu"];
    let analysed = train(&[&few[..], &curved].concat());
    ended(&analysed, 0);
    let analysis: Value = serde_json::from_str(&text(&at("moa-0/analysis.json"))).unwrap();
    // The middle of the surface is what was trained, in single precision.
    let middle = analysis["surface"]["loss"][1][1].as_f64().unwrap();
    let exact = analysis["spectrum"]["loss"].as_f64().unwrap();
    assert!((middle - exact).abs() < 1e-4 * exact, "{middle} {exact}");
    // Of six images of each class and environment, four are trained on where any are.
    let points = analysis["points"].as_array().unwrap();
    assert!((40..=84).contains(&points.len()), "{}", points.len());
    assert!((20..=28).contains(&analysis["maps"].as_array().unwrap().len()));
    let usage = analysis["usage"].as_array().unwrap();
    assert_eq!(usage.len(), 3, "a row for each routed layer");
    let tokens: u64 = usage[0]["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|env| env.as_array().unwrap())
        .flat_map(|class| class.as_array().unwrap())
        .map(|n| n.as_u64().unwrap())
        .sum();
    let grid = analysis["grid"].as_array().unwrap();
    let each = 1 + grid[0].as_u64().unwrap() * grid[1].as_u64().unwrap();
    assert_eq!(tokens, points.len() as u64 * each);

    let report = train(&["report", &all, "--title", "A & B"]);
    ended(&report, 0);
    let html = text(&at("report.html"));
    assert!(html.contains("<title>A &amp; B</title>"));
    for id in [
        "accuracy-drawings",
        "curves-",
        "reliability-",
        "confusion-drawings-lora-moa",
        "usage-domain-",
        "layers-",
        "classes-",
        "features-",
        "loss-drawings",
        "eigenvalues-drawings",
    ] {
        assert_eq!(html.matches(&format!("<figure id=\"{id}")).count(), 1, "{id}");
    }
    // The method and the environment that was left out have a row, two trials in it.
    let csv = text(&at("report.csv"));
    let row = csv.lines().find(|line| line.contains("drawings,lora-moa,sketch,")).unwrap();
    assert!(row.ends_with(",2"), "{row}");
    assert!(text(&at("report.tex")).contains("lora-moa & -- & -- & -- & $"));

    let compared = train(&["report", &all, "--compare", "lora-moa", "lora", "--json"]);
    ended(&compared, 0);
    let line: Value = serde_json::from_str(stdout(&compared).lines().next().unwrap()).unwrap();
    let accuracy = |name: &str| {
        let lines = lines(&at(name).join("events.jsonl"));
        let best = lines.iter().rfind(|line| line["best"] == true).unwrap();
        100.0 * best["envs"]["sketch"]["in"].as_f64().unwrap()
    };
    let differences =
        [0, 1].map(|t| accuracy(&format!("moa-{t}")) - accuracy(&format!("lora-{t}")));
    let mean = (differences[0] + differences[1]) / 2.0;
    let found = &line["comparison"];
    assert!((found["difference"].as_f64().unwrap() - mean).abs() < 1e-6, "{line}");
    let margin = 12.706 * (differences[0] - differences[1]).abs() / 2.0;
    assert!((found["margin"].as_f64().unwrap() - margin).abs() < 1e-6, "{line}");

    let unknown = train(&["report", &all, "--compare", "lora", "lora-mao"]);
    ended(&unknown, 2);
    assert!(stderr(&unknown).contains("there are lora, lora-moa"), "{}", stderr(&unknown));
    let nothing = train(&["analyse", &all]);
    ended(&nothing, 2);
    assert!(stderr(&nothing).contains("not a run folder"), "{}", stderr(&nothing));
}
