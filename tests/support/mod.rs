//! Running the real binaries on a small generated dataset.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The path of a binary of the workspace, built in the profile of the tests.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let mut dir = std::env::current_exe().unwrap();
        dir.pop(); // deps
        dir.pop(); // the profile
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "-p", "moa-train", "-p", "moa-infer"]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        if dir.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the binaries do not build");
        dir
    });
    dir.join(name)
}

pub fn train(args: &[&str]) -> Output {
    Command::new(binary("moa-train")).args(args).output().unwrap()
}

pub fn infer(args: &[&str]) -> Output {
    Command::new(binary("moa-infer")).args(args).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Fails with the program's words if it did not end with `code`.
#[track_caller]
pub fn ended(output: &Output, code: i32) {
    let found = output.status.code();
    assert_eq!(found, Some(code), "stdout: {}\nstderr: {}", stdout(output), stderr(output));
}

/// Four styles, seven classes, six pictures of each; made once for all tests of a binary.
pub fn drawings() -> &'static Path {
    static MADE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drawings");
        moa_train::synth::write_dataset(&path, 1, 6, 48).unwrap();
        (dir, path)
    });
    path
}

/// Arguments of a short run on the drawings.
pub fn fit_args<'a>(out: &'a str, method: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let data = drawings().to_str().unwrap();
    let mut args = vec!["fit", "--data", data, "--test-env", "sketch", "--backbone", "tiny"];
    args.extend(["--method", method, "--out", out, "--device", "cpu"]);
    args.extend(["--set", "train.batch_per_env=4", "--set", "optim.lr=1e-3"]);
    args.extend(more);
    args
}

pub fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Lines of a JSON-lines file.
pub fn lines(path: &Path) -> Vec<serde_json::Value> {
    text(path).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Name and content of the tensors that decide whether two runs are equal.
pub fn outcome(run: &Path) -> Vec<(String, Vec<u8>)> {
    let latest = text(&run.join("checkpoints/LATEST"));
    let last = run.join("checkpoints").join(latest.trim());
    let files = [
        run.join("best/adapter_model.safetensors"),
        last.join("adapter_model.safetensors"),
        last.join("optimizer.safetensors"),
    ];
    let read = |p: &PathBuf| std::fs::read(p).unwrap_or_else(|e| panic!("{}: {e}", p.display()));
    files.iter().map(|p| (p.strip_prefix(run).unwrap().display().to_string(), read(p))).collect()
}
