//! `--cache-features` changes no bit of what a run writes.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{binary, ended, fit_args, lines, outcome, stderr, train};

const SET: &[&str] =
    &["--steps", "12", "--set", "checkpoint.every=3", "--set", "train.eval_every=5"];

/// Lines of a file without the times in them.
fn timeless(path: &Path) -> Vec<Value> {
    let mut all = lines(path);
    for line in all.iter_mut().filter_map(Value::as_object_mut) {
        for key in ["step_time", "seconds", "images_per_s", "waited_s"] {
            line.remove(key);
        }
    }
    all
}

/// Runs a method with and without, and compares; returns what the one with it says.
fn alike(method: &str, set: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let more = [SET, set, more].concat();
        let done = train(&fit_args(out.to_str().unwrap(), method, &more));
        ended(&done, 0);
        (out, stderr(&done))
    };
    let (plain, said) = run("plain", &[]);
    assert!(!said.contains("evaluation keeps"), "{said}");
    // Other batches, of which the last is smaller.
    let (cached, said) = run("cached", &["--cache-features", "--set", "eval.batch=5"]);
    for file in ["events.jsonl", "results.jsonl"] {
        let (cached, plain) = (timeless(&cached.join(file)), timeless(&plain.join(file)));
        assert_eq!(cached, plain, "{method}: {file}");
    }
    assert_eq!(outcome(&cached), outcome(&plain), "{method}");
    said
}

#[test]
fn with_and_without_it_runs_are_alike() {
    let said = alike("linear-probe", &[]);
    assert!(said.contains("evaluation keeps the features of "), "{said}");
    let said = alike("lora", &["--set", "method.blocks=last-two"]);
    assert!(said.contains("evaluation keeps what enters block 4 of "), "{said}");
    // The first half of block 3 is frozen.
    let mlp = ["--set", "method.blocks=[3,5]", "--set", "method.linears=fc1"];
    let said = alike("lora-moa", &mlp);
    assert!(said.contains("evaluation keeps what enters block 3 of "), "{said}");
    let said = alike("bias", &["--set", "method.blocks=[5]", "--set", "method.linears=proj"]);
    assert!(said.contains("evaluation keeps what enters block 5 of "), "{said}");
    for method in ["paper/kadaptation-moa", "full"] {
        let said = alike(method, &[]);
        assert!(said.contains("eval.cache_features: block 0 trains"), "{said}");
    }
}

#[test]
fn a_run_goes_on_with_it_and_without() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let out = run.display().to_string();
    let set = [SET, &["--set", "method.blocks=last-two"]].concat();
    ended(&train(&fit_args(&out, "lora", &set)), 0);
    let results = timeless(&run.join("results.jsonl"));
    let wanted = outcome(&run);
    for cache in ["true", "false"] {
        std::fs::remove_dir_all(run.join("checkpoints/step-12")).unwrap();
        let set = format!("eval.cache_features={cache}");
        let done = train(&["fit", "--out", &out, "--resume", "--set", &set]);
        ended(&done, 0);
        assert!(stderr(&done).contains("going on after step 9"), "{}", stderr(&done));
        assert_eq!(outcome(&run), wanted);
        assert_eq!(timeless(&run.join("results.jsonl")), results);
    }
}

/// Evaluations in `events.jsonl`.
fn evaluations(run: &Path) -> usize {
    let events = std::fs::read_to_string(run.join("events.jsonl")).unwrap_or_default();
    events.matches("\"kind\":\"eval\"").count()
}

fn wait_for(run: &Path, wanted: usize) {
    for _ in 0..3000 {
        if evaluations(run) >= wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no evaluation {wanted} in {}", run.display());
}

#[test]
fn evaluated_images_are_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("data"), dir.path().join("run"));
    moa_train::synth::write_dataset(&data, 2, 6, 48).unwrap();
    let out = run.display().to_string();
    let set = ["--cache-features", "--steps", "1000000", "--set", "train.eval_every=5"];
    let mut args = fit_args(&out, "linear-probe", &set);
    let at = args.iter().position(|arg| *arg == "--data").unwrap();
    let path = data.display().to_string();
    args[at + 1] = &path;
    let mut child = Command::new(binary("moa-train"));
    let mut child = child.args(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&run, 1);
    // All of the held-out environment.
    std::fs::remove_dir_all(data.join("sketch")).unwrap();
    // One may be under way.
    wait_for(&run, evaluations(&run) + 2);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_is_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let set = ["--cache-features", "--set", "method.blocks=last-two"];
    let fit = |limit: &str| {
        let set = [SET, &set, &["--set", limit]].concat();
        train(&fit_args(run.to_str().unwrap(), "lora", &set))
    };
    let refused = fit("eval.cache_limit=1");
    ended(&refused, 2);
    let said = stderr(&refused);
    assert!(said.contains("eval.cache_features needs 2 MiB for "), "{said}");
    assert!(said.contains("eval.cache_limit is 1: raise it"), "{said}");
    assert!(!run.exists(), "a run folder was made for nothing");
    ended(&fit("eval.cache_limit=2"), 0);
}
