//! A sweep ends with the same table for any number of workers, however often they are killed.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{binary, drawings, ended, lines, stderr, stdout, text, train};

/// Twelve runs of a few steps.
fn plan(top: &Path, name: &str, data: &Path, set: &[&str]) -> PathBuf {
    let file = top.join("sweep.toml");
    let content = "[sweep]\nmethods = ['linear-probe', 'lora', 'narrow']\ntrials = [3]\n\
        [sweep.method.narrow]\nmethod.name = 'lora-moa'\nmethod.adapter.ranks = [1, 2]\n\
        [backbone]\nspec = 'tiny'\n[optim]\nlr = 1e-3\n[checkpoint]\nevery = 2\n\
        [train]\nsteps = 8\nbatch_per_env = 4\neval_every = 4\ndevice = 'cpu'\n\
        [eval]\nmax_images = 12\n";
    std::fs::write(&file, content).unwrap();
    let out = top.join(name);
    let root = format!("data.root={}", data.display());
    let mut args = vec!["sweep", "plan", file.to_str().unwrap(), "--no-timing", "--set", &root];
    args.extend(["--out", out.to_str().unwrap()]);
    set.iter().for_each(|set| args.extend(["--set", set]));
    ended(&train(&args), 0);
    out
}

fn start(dir: &Path) -> Child {
    let mut command = Command::new(binary("moa-train"));
    command.args(["sweep", "run", "--heartbeat", "0.1"]).arg(dir);
    command.env("RAYON_NUM_THREADS", "1").stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn sweep(command: &str, dir: &Path, more: &[&str]) -> Output {
    train(&[&["sweep", command, dir.to_str().unwrap()], more].concat())
}

/// What each run found, without how long it took.
fn results(dir: &Path) -> Vec<(String, Vec<serde_json::Value>)> {
    let runs = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut runs: Vec<_> = runs.filter(|path| path.join("results.jsonl").exists()).collect();
    runs.sort();
    let untimed = |mut line: serde_json::Value| {
        line.as_object_mut().unwrap().remove("step_time");
        line
    };
    let of = |run: PathBuf| {
        let lines = lines(&run.join("results.jsonl")).into_iter().map(untimed).collect();
        (run.file_name().unwrap().to_str().unwrap().to_string(), lines)
    };
    runs.into_iter().map(of).collect()
}

#[test]
fn killed_workers_change_nothing() {
    let top = tempfile::tempdir().unwrap();
    let whole = plan(top.path(), "whole", drawings(), &[]);
    let output = sweep("run", &whole, &[]);
    ended(&output, 0);
    assert_eq!(stdout(&output), "12 runs done, 0 failed\n");

    let hurt = plan(top.path(), "hurt", drawings(), &[]);
    let mut workers: Vec<Child> = (0..3).map(|_| start(&hurt)).collect();
    let (mut killed, mut dice) = (0, 12345u32);
    let limit = Instant::now() + Duration::from_secs(600);
    loop {
        assert!(Instant::now() < limit, "{}", stdout(&sweep("status", &hurt, &[])));
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(Duration::from_millis(150 + u64::from(dice >> 24)));
        if workers.iter_mut().all(|worker| worker.try_wait().unwrap().is_some()) {
            break;
        }
        // Long enough to see many deaths, not so long that nothing is ever done.
        let victim = &mut workers[(dice >> 20) as usize % 3];
        if killed < 12 && victim.try_wait().unwrap().is_none() {
            victim.kill().unwrap();
            victim.wait().unwrap();
            *victim = start(&hurt);
            killed += 1;
        }
    }
    assert!(killed >= 6, "only {killed} workers were killed: the sweep is too short");
    assert!(workers.iter_mut().all(|worker| worker.wait().unwrap().success()));
    let (whole, hurt) = (results(&whole), results(&hurt));
    assert_eq!(whole.len(), 12);
    assert_eq!(whole, hurt);
    let table = |name: &str| {
        let (out, kept) = (top.path().join(name), top.path().join(format!("{name}-kept")));
        let output = sweep("collect", &out, &["--out", kept.to_str().unwrap()]);
        ended(&output, 0);
        assert_eq!(results(&kept).len(), 12);
        assert!(!kept.join("sweep.toml").exists());
        assert_eq!(stdout(&train(&["report", out.to_str().unwrap()])), stdout(&output));
        stdout(&output)
    };
    assert_eq!(table("whole"), table("hurt"));
    // What was collected stands for runs in a new folder, if they are the same.
    let kept = format!("--results={}", top.path().join("hurt-kept").display());
    let file = top.path().join("whole/sweep.toml").display().to_string();
    let again = |name: &str, set: &str| {
        let out = top.path().join(name).display().to_string();
        let set = ["--set", set];
        train(&[&["sweep", "plan", &file, "--no-timing", "--out", &out, &kept], &set[..]].concat())
    };
    ended(&again("adopted", "sweep.pairs=false"), 0);
    let status = stdout(&sweep("status", &top.path().join("adopted"), &[]));
    let all = status.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(all, ["all", "12", "12", "0", "0", "0"], "{status}");
    let other = again("other", "optim.lr=2e-3");
    ended(&other, 1);
    assert!(stderr(&other).contains("lr is not that of the sweep"), "{}", stderr(&other));
    let kept = top.path().join("hurt-kept");
    let first = std::fs::read_dir(&kept).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(first.join("results.jsonl")).unwrap();
    let key = "\"backbone_sha256\":\"";
    std::fs::write(first.join("results.jsonl"), text.replace(key, &format!("{key}other"))).unwrap();
    let other = again("unlike", "sweep.pairs=false");
    ended(&other, 1);
    assert!(stderr(&other).contains("backbone_sha256 is not that"), "{}", stderr(&other));
    assert!(std::fs::read_dir(top.path().join("hurt/.sweep/claims")).unwrap().next().is_none());
}

/// Needs `sbatch`; the time limit is played by its signal to one task of the array, a machine that
/// fails by killing the worker of the other.
#[test]
#[ignore = "needs Slurm; tests/slurm/run starts one"]
fn under_slurm_with_a_requeue() {
    let top = tempfile::tempdir().unwrap();
    let whole = plan(top.path(), "whole", drawings(), &["train.steps=60"]);
    ended(&sweep("run", &whole, &[]), 0);

    let array = plan(top.path(), "array", drawings(), &["train.steps=60"]);
    let more =
        ["--launcher", "slurm", "--workers", "2", "--heartbeat", "0.2", "--sbatch=--time=10"];
    let output = sweep("run", &array, &more);
    ended(&output, 0);
    let said = stdout(&output);
    let number = said.split_whitespace().last().unwrap().to_string();
    assert!(said.starts_with("Submitted batch job"), "{said}");
    let tool = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().unwrap();
        assert!(output.status.success(), "{program}: {}", stderr(&output));
        stdout(&output)
    };
    let wait = |what: &str, is: &dyn Fn() -> bool| {
        let limit = Instant::now() + Duration::from_secs(400);
        while !is() {
            let queue = || tool("squeue", &["--array"]);
            assert!(Instant::now() < limit, "{what}: {}\n{}", queue(), slurm_log(&array));
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let running = || {
        let json = stdout(&sweep("status", &array, &["--json"]));
        json.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<serde_json::Value>>()
    };
    wait("two workers", &|| {
        running().iter().filter(|line| line["state"] == "running").count() == 2
    });
    let first = format!("{number}_0");
    tool("scancel", &["--signal=USR1", "--batch", &first]);
    wait("a requeue", &|| tool("scontrol", &["show", "job", &first]).contains("Restarts=1"));
    let worker = running().into_iter().find(|line| line["state"] == "running").unwrap();
    tool("kill", &["-KILL", &worker["pid"].to_string()]);
    // Slurm waits two minutes before it starts a job again; the test does not.
    tool("scontrol", &["release", &first]);
    tool("scontrol", &["update", &format!("JobId={first}"), "StartTime=now"]);
    wait("the end", &|| tool("squeue", &["--noheader"]).trim().is_empty());
    let status = stdout(&sweep("status", &array, &[]));
    assert!(
        running().iter().all(|line| line["state"] == "done"),
        "{status}\n{}",
        slurm_log(&array)
    );
    assert_eq!(results(&whole), results(&array));
}

/// What the tasks of the array said.
fn slurm_log(dir: &Path) -> String {
    let logs = std::fs::read_dir(dir.join(".sweep")).unwrap().map(|entry| entry.unwrap().path());
    let logs = logs.filter(|path| path.extension().is_some_and(|ext| ext == "log"));
    logs.map(|path| format!("{}: {}", path.display(), text(&path))).collect()
}

#[test]
fn a_team_stops_and_goes_on() {
    let top = tempfile::tempdir().unwrap();
    let dir = plan(top.path(), "team", drawings(), &["sweep.methods=['lora']"]);
    let mut command = Command::new(binary("moa-train"));
    command.args(["sweep", "run", "--workers", "2", "--heartbeat", "0.1"]).arg(&dir);
    let mut team = command.stderr(Stdio::null()).spawn().unwrap();
    let begun = || std::fs::read_dir(&dir).unwrap().count() > 3;
    for _ in 0..1200 {
        if begun() {
            break;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    let pid = team.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(team.wait().unwrap().code(), Some(75));
    let output = sweep("run", &dir, &["--workers", "2", "--heartbeat", "0.1"]);
    ended(&output, 0);
    assert_eq!(stdout(&output), "4 runs done, 0 failed\n");
}

#[test]
fn what_fails_is_told_and_can_be_tried_again() {
    let top = tempfile::tempdir().unwrap();
    let data = top.path().join("drawings");
    moa_train::synth::write_dataset(&data, 1, 2, 32).unwrap();
    let set = ["sweep.methods=['lora']", "eval.max_images=2", "train.batch_per_env=32"];
    let dir = plan(top.path(), "sweep", &data, &set);
    let bad = std::fs::read_dir(data.join("photo/fish")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&bad).unwrap();
    std::fs::write(&bad, "no image").unwrap();
    let output = sweep("run", &dir, &[]);
    ended(&output, 1);
    // The one that leaves it out for testing does not train on it.
    assert!(stdout(&output).contains("3 failed"), "{}", stdout(&output));
    assert!(stderr(&output).contains("sweep status"), "{}", stderr(&output));
    let status = stdout(&sweep("status", &dir, &[]));
    assert!(status.contains("failed on ") && status.contains(bad.to_str().unwrap()), "{status}");
    let json = stdout(&sweep("status", &dir, &["--json"]));
    assert_eq!(json.lines().filter(|line| line.contains("\"state\":\"failed\"")).count(), 3);

    std::fs::write(&bad, whole).unwrap();
    ended(&sweep("run", &dir, &[]), 1); // nothing is tried again by itself
    ended(&sweep("run", &dir, &["--retry"]), 0);
    assert!(stdout(&sweep("status", &dir, &[])).contains("      4      4"), "all done");
}

#[test]
fn mistakes_are_one_line() {
    let top = tempfile::tempdir().unwrap();
    let says = |output: Output, words: &[&str]| {
        ended(&output, 2);
        let said = stderr(&output);
        assert_eq!(said.lines().count(), 1, "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "`{word}`: {said}"));
    };
    says(sweep("run", top.path(), &[]), &["no sweep here", "sweep plan"]);
    let dir = plan(top.path(), "a", drawings(), &["sweep.methods=['lora']"]);
    let file = top.path().join("sweep.toml");
    let root = format!("data.root={}", drawings().display());
    let again = |set: &[&str]| {
        let mut args = vec!["sweep", "plan", file.to_str().unwrap(), "--no-timing"];
        args.extend(["--set", &root, "--out", dir.to_str().unwrap()]);
        set.iter().for_each(|set| args.extend(["--set", set]));
        train(&args)
    };
    says(again(&["sweep.methods=['lorra']"]), &["lorra", "did you mean"]);
    says(again(&["optim.rl=1"]), &["optim.rl", "did you mean `optim.lr`"]);
    says(again(&["sweep.test_envs=['phot']"]), &["phot", "photo"]);
    ended(&sweep("run", &dir, &[]), 0);
    says(again(&["train.steps=9"]), &["train.steps was 8", "another --out"]);
    assert!(text(&dir.join("sweep.toml")).contains("steps = 8"));
    ended(&again(&["sweep.trials=[3, 4]"]), 0); // more runs may be added
}
