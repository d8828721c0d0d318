//! A run that is stopped, killed or damaged goes on with the same bits.
#![allow(clippy::unwrap_used)]

mod support;

use moa_train::config::layers::Layers;
use moa_train::fit::Plan;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use support::{binary, ended, fit_args, lines, outcome, stderr, text, train};

const SET: &[&str] =
    &["--steps", "12", "--set", "checkpoint.every=3", "--set", "train.eval_every=5"];

fn start(args: &[&str], threads: &str) -> Child {
    let mut command = Command::new(binary("moa-train"));
    command.args(args).env("RAYON_NUM_THREADS", threads);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Arguments of a short run of the linear probe on images of its own, in `data`.
fn own_images(data: &Path, out: &Path, steps: &str) -> Vec<String> {
    if !data.exists() {
        moa_train::synth::write_dataset(data, 2, 6, 48).unwrap();
    }
    let (data, out) = (data.display().to_string(), out.display().to_string());
    let mut args =
        fit_args(&out, "linear-probe", &["--steps", steps, "--set", "eval.max_images=4"]);
    let at = args.iter().position(|arg| *arg == "--data").unwrap();
    args[at + 1] = &data;
    args.into_iter().map(String::from).collect()
}

fn train_owned(args: &[String]) -> Output {
    train(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Waits until `events.jsonl` has as many steps.
fn wait_for(run: &Path, steps: usize) {
    for _ in 0..3000 {
        let done = std::fs::read_to_string(run.join("events.jsonl")).unwrap_or_default();
        if done.matches("\"kind\":\"step\"").count() >= steps {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no progress in {}", run.display());
}

#[test]
fn killed_stopped_and_single_threaded_runs_end_alike() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let path = |name: &str| at(name).display().to_string();
    let whole = path("whole");
    ended(&train(&fit_args(&whole, "kadaptation-moa", SET)), 0);
    let wanted = outcome(&at("whole"));
    let results = lines(&at("whole").join("results.jsonl"));
    assert_eq!(
        results.iter().map(|r| r["step"].as_u64().unwrap()).collect::<Vec<_>>(),
        [0, 5, 10, 11]
    );

    let single = path("single");
    let mut args = fit_args(&single, "kadaptation-moa", SET);
    args.push("--checkpoint-activations");
    let mut child = start(&args, "1");
    assert!(child.wait().unwrap().success());
    assert_eq!(outcome(&at("single")), wanted, "one thread, activations computed again");

    // kill -9, again and again, also before the first checkpoint.
    let killed = path("killed");
    for steps in [1, 4, 5, 8, 11] {
        let resume = at("killed").exists().then_some("--resume");
        let args: Vec<&str> =
            fit_args(&killed, "kadaptation-moa", SET).into_iter().chain(resume).collect();
        let mut child = start(&args, "2");
        wait_for(&at("killed"), steps);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut args = fit_args(&killed, "kadaptation-moa", SET);
    args.push("--resume");
    ended(&train(&args), 0);
    assert_eq!(outcome(&at("killed")), wanted, "after kill -9");
    let accuracies = |run: &str| -> Vec<(u64, f64)> {
        let rows = lines(&at(run).join("results.jsonl"));
        rows.iter()
            .map(|r| (r["step"].as_u64().unwrap(), r["env3_in_acc"].as_f64().unwrap()))
            .collect()
    };
    assert_eq!(accuracies("killed"), accuracies("whole"));
    let steps =
        |run: &str| text(&at(run).join("events.jsonl")).matches("\"kind\":\"step\"").count();
    assert_eq!(steps("killed"), steps("whole"), "a step stands twice in the events");

    // SIGTERM ends with 75 and a checkpoint.
    let stopped = path("stopped");
    let mut child = start(&fit_args(&stopped, "kadaptation-moa", SET), "2");
    wait_for(&at("stopped"), 4);
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(75));
    ended(&train(&["fit", "--out", &stopped, "--resume"]), 0);
    assert_eq!(outcome(&at("stopped")), wanted, "after SIGTERM");
    assert_eq!(steps("stopped"), steps("whole"), "a step is not in the events");
}

#[test]
fn an_average_of_weights_held_by_miro_ends_alike_and_is_in_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let path = |name: &str| at(name).display().to_string();
    let set = ["--steps", "12", "--set", "checkpoint.every=3", "--set", "train.eval_every=2"];
    let swad =
        ["swad.rule=published", "swad.n_converge=1", "swad.n_tolerance=3", "miro.weight=0.1"];
    let more = swad.iter().flat_map(|key| ["--set", key]);
    let set: Vec<&str> =
        set.into_iter().chain(more).chain(["--set", "eval.max_images=8"]).collect();
    let whole = path("whole");
    ended(&train(&fit_args(&whole, "lora-moa", &set)), 0);
    let average =
        |run: &str| std::fs::read(at(run).join("swad/adapter_model.safetensors")).unwrap();
    let best = std::fs::read(at("whole").join("best/adapter_model.safetensors")).unwrap();
    assert_ne!(average("whole"), best);

    let killed = path("killed");
    for steps in [2, 5, 7, 10] {
        let resume = at("killed").exists().then_some("--resume");
        let args: Vec<&str> =
            fit_args(&killed, "lora-moa", &set).into_iter().chain(resume).collect();
        let mut child = start(&args, "2");
        wait_for(&at("killed"), steps);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    ended(&train(&["fit", "--out", &killed, "--resume"]), 0);
    assert_eq!(average("killed"), average("whole"), "after kill -9");
    assert_eq!(outcome(&at("killed")), outcome(&at("whole")));

    // An adapter like any other, and a row of its own.
    let image = support::drawings().join("photo").display().to_string();
    ended(
        &support::infer(&["predict", &at("whole").join("swad").display().to_string(), &image]),
        0,
    );
    let report = train(&["report", &whole]);
    ended(&report, 0);
    let table = support::stdout(&report);
    assert!(
        table.contains("lora-moa + MIRO + SWAD") && !stderr(&report).contains("not finished"),
        "{table}"
    );
    // Done is done.
    let before = std::fs::metadata(at("whole").join("swad/moa.json")).unwrap().modified().unwrap();
    ended(&train(&["fit", "--out", &whole, "--resume"]), 0);
    let after = std::fs::metadata(at("whole").join("swad/moa.json")).unwrap().modified().unwrap();
    assert_eq!(before, after);
}

#[test]
fn a_damaged_checkpoint_is_reported_and_the_one_before_it_used() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let out = run.display().to_string();
    ended(&train(&fit_args(&out, "lora", SET)), 0);
    let wanted = outcome(&run);
    let newest = run.join("checkpoints/step-12");
    for name in [
        "adapter_model.safetensors",
        "optimizer.safetensors",
        "state.json",
        "moa.json",
        "manifest.json",
    ] {
        let whole = std::fs::read(newest.join(name)).unwrap();
        // The last byte of the JSON files is a line end, which nobody misses.
        for cut in [0, 1, whole.len() / 2, whole.len() - 2] {
            std::fs::write(newest.join(name), &whole[..cut]).unwrap();
            let output = train(&["fit", "--out", &out, "--resume"]);
            ended(&output, 0);
            assert!(
                stderr(&output).contains("step-12"),
                "{name} cut at {cut}: {}",
                stderr(&output)
            );
            assert_eq!(outcome(&run), wanted, "{name} cut at {cut}");
        }
    }
    // With no whole checkpoint left, nothing is guessed.
    for entry in std::fs::read_dir(run.join("checkpoints")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::write(path.join("state.json"), "{}").unwrap();
        }
    }
    let output = train(&["fit", "--out", &out, "--resume"]);
    ended(&output, 1);
    assert!(stderr(&output).contains("checkpoints is whole"), "{}", stderr(&output));
}

#[test]
fn a_resumed_run_keeps_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run").display().to_string();
    let short = ["--steps", "2", "--set", "eval.max_images=4"];
    ended(&train(&fit_args(&out, "linear-probe", &short)), 0);
    let again = train(&fit_args(&out, "linear-probe", &short));
    ended(&again, 2);
    assert!(stderr(&again).contains("--resume"), "{}", stderr(&again));
    let other = train(&["fit", "--out", &out, "--resume", "--seed", "5"]);
    ended(&other, 2);
    assert!(stderr(&other).contains("train.seed was 0 and is now 5"), "{}", stderr(&other));
}

#[test]
fn a_run_is_alone_in_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let name = out.display().to_string();
    let long = ["--steps", "2000", "--set", "eval.max_images=4"];
    let mut child = start(&fit_args(&name, "linear-probe", &long), "1");
    wait_for(&out, 2);
    for again in [vec!["fit", "--out", &name, "--resume"], fit_args(&name, "linear-probe", &long)] {
        let second = train(&again);
        let said = stderr(&second);
        assert!(!second.status.success());
        assert!(said.contains("another process") || said.contains("is not empty"), "{said}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn other_images_are_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let out = dir.path().join("run");
    ended(&train_owned(&own_images(&data, &out, "2")), 0);
    std::fs::remove_file(data.join("photo/car/000.png")).unwrap();
    let resumed = train(&["fit", "--out", out.to_str().unwrap(), "--resume"]);
    ended(&resumed, 1);
    assert!(stderr(&resumed).contains("added, removed or renamed"), "{}", stderr(&resumed));
}

/// An image that turns out damaged in the middle of a run costs nothing.
#[test]
fn an_image_is_mended_and_the_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (run, whole) = (dir.path().join("run"), dir.path().join("whole"));
    let fit = |out: &Path| train_owned(&own_images(&data, out, "9"));
    ended(&fit(&whole), 0);

    // An image that no step before the sixth uses.
    let mut layers = Layers::default();
    layers.file(&whole.join("config.toml")).unwrap();
    let plan = Plan::new(layers.resolve().unwrap().0).unwrap();
    let (pools, batches) = (plan.data.pools(), plan.batches());
    let early: Vec<_> = (0..5).flat_map(|step| batches.indices(step)).collect();
    let late = batches.indices(5).into_iter().find(|place| !early.contains(place)).unwrap();
    let image = &pools[late.0].sample(late.1).path;
    let bytes = std::fs::read(image).unwrap();
    std::fs::write(image, &bytes[..20]).unwrap();
    let broken = fit(&run);
    ended(&broken, 1);
    assert!(stderr(&broken).contains(image.to_str().unwrap()), "{}", stderr(&broken));
    assert!(run.join("checkpoints/step-5").is_dir(), "five steps are lost");
    std::fs::write(image, bytes).unwrap();
    ended(&train(&["fit", "--out", run.to_str().unwrap(), "--resume"]), 0);
    assert_eq!(outcome(&run), outcome(&whole));
}

/// Results that no checkpoint belongs to any more are not written over.
#[test]
fn a_finished_run_without_checkpoints_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let out = run.display().to_string();
    ended(&train(&fit_args(&out, "linear-probe", SET)), 0);
    std::fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let results = text(&run.join("results.jsonl"));
    let resumed = train(&["fit", "--out", &out, "--resume"]);
    ended(&resumed, 1);
    assert!(stderr(&resumed).contains("no checkpoint to go on from"), "{}", stderr(&resumed));
    assert_eq!(text(&run.join("results.jsonl")), results);
}
