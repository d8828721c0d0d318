//! A run that is stopped, killed or damaged goes on with the same bits.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{binary, ended, fit_args, lines, outcome, stderr, text, train};

const SET: &[&str] =
    &["--steps", "12", "--set", "checkpoint.every=3", "--set", "train.eval_every=5"];

fn start(args: &[&str], threads: &str) -> Child {
    let mut command = Command::new(binary("moa-train"));
    command.args(args).env("RAYON_NUM_THREADS", threads);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
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
    let mut child = start(&fit_args(&single, "kadaptation-moa", SET), "1");
    assert!(child.wait().unwrap().success());
    assert_eq!(outcome(&at("single")), wanted, "with one thread");

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
    let second = train(&["fit", "--out", &name, "--resume"]);
    ended(&second, 1);
    assert!(stderr(&second).contains("another process"), "{}", stderr(&second));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn other_images_are_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    moa_train::synth::write_dataset(&data, 2, 6, 48).unwrap();
    let out = dir.path().join("run").display().to_string();
    let place = data.display().to_string();
    let mut args = fit_args(&out, "linear-probe", &["--steps", "2"]);
    args.extend(["--set", "eval.max_images=4"]);
    let at = args.iter().position(|arg| *arg == "--data").unwrap();
    args[at + 1] = &place;
    ended(&train(&args), 0);
    std::fs::remove_file(data.join("photo/car/000.png")).unwrap();
    let resumed = train(&["fit", "--out", &out, "--resume"]);
    ended(&resumed, 1);
    assert!(stderr(&resumed).contains("added, removed or renamed"), "{}", stderr(&resumed));
}

/// An image that turns out damaged in the middle of a run costs nothing.
#[test]
fn an_image_is_mended_and_the_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    moa_train::synth::write_dataset(&data, 2, 6, 48).unwrap();
    let (place, run) = (data.display().to_string(), dir.path().join("run"));
    let (out, whole) = (run.display().to_string(), dir.path().join("whole"));
    let name = whole.display().to_string();
    let more = ["--steps", "9", "--set", "eval.max_images=4", "--set", "data.workers=1"];
    let mut args = fit_args(&name, "linear-probe", &more);
    let at = args.iter().position(|arg| *arg == "--data").unwrap();
    args[at + 1] = &place;
    ended(&train(&args), 0);

    // Every image but those of the first steps is damaged while the run is stopped.
    let at = args.iter().position(|arg| *arg == "--out").unwrap();
    args[at + 1] = &out;
    let mut child = start(&args, "1");
    wait_for(&run, 2);
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let code = child.wait().unwrap().code();
    if code == Some(75) {
        let image = data.join("photo");
        let moved = dir.path().join("photo");
        copy_damaged(&image, &moved);
        let broken = train(&["fit", "--out", &out, "--resume"]);
        ended(&broken, 1);
        assert!(stderr(&broken).contains("photo/"), "{}", stderr(&broken));
        std::fs::remove_dir_all(&image).unwrap();
        std::fs::rename(&moved, &image).unwrap();
    }
    ended(&train(&["fit", "--out", &out, "--resume"]), 0);
    assert_eq!(outcome(&run), outcome(&whole));
}

/// Keeps `from` at `to` and cuts every image of `from`.
fn copy_damaged(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let kept = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_damaged(&path, &kept);
        } else {
            std::fs::copy(&path, &kept).unwrap();
            std::fs::write(&path, b"\x89PNG\r\n\x1a\n").unwrap();
        }
    }
}
