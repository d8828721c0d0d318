//! The programs with the Hub.

use super::server::{TOKEN, TestHub};
use super::support::{binary, drawings, ended, stderr, stdout};
use std::path::Path;
use std::process::{Command, Output};

/// Runs a program of ours against a hub, with a cache of its own.
pub fn run(
    program: &str,
    hub: &TestHub,
    home: &Path,
    env: &[(&str, &str)],
    args: &[&str],
) -> Output {
    let mut command = Command::new(binary(program));
    command.args(args).env("HF_ENDPOINT", &hub.url).env("HF_HOME", home).env("HF_TOKEN", TOKEN);
    for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN_PATH"] {
        command.env_remove(name);
    }
    command.envs(env.iter().copied()).output().unwrap()
}

/// The backbone of the program, as a repository.
pub fn publish_tiny(hub: &TestHub, repo: &str) -> String {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny");
    let read = |name: &str| std::fs::read(tiny.join(name)).unwrap();
    let (config, weights) = (read("config.json"), read("model.safetensors"));
    hub.publish(repo, &[("config.json", &config), ("model.safetensors", &weights)])
}

/// A short run with that backbone; the folder of the adapter.
pub fn fit(hub: &TestHub, home: &Path, out: &Path) -> std::path::PathBuf {
    fit_with(hub, home, out, &[])
}

fn fit_with(hub: &TestHub, home: &Path, out: &Path, more: &[&str]) -> std::path::PathBuf {
    let (data, out_text) = (drawings().to_str().unwrap(), out.to_str().unwrap());
    let mut args = vec!["fit", "--data", data, "--test-env", "sketch", "--backbone", "a/tiny"];
    args.extend(["--method", "lora", "--out", out_text, "--device", "cpu"]);
    args.extend(["--set", "train.batch_per_env=4", "--set", "train.steps=2"]);
    args.extend(more);
    ended(&run("moa-train", hub, home, &[], &args), 0);
    out.join("best")
}

#[test]
fn predict_from_the_hub_then_offline() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    let commit = publish_tiny(&hub, "a/tiny");
    let best = fit(&hub, &dir.path().join("one"), &dir.path().join("run"));
    let card = super::support::text(&best.join("moa.json"));
    assert!(card.contains(&format!("\"spec\": \"a/tiny@{commit}\"")), "{card}");
    let read = |name: &str| std::fs::read(best.join(name)).unwrap();
    let (card, tensors) = (read("moa.json"), read("adapter_model.safetensors"));
    let files: [(&str, &[u8]); 2] = [("moa.json", &card), ("adapter_model.safetensors", &tensors)];
    let adapter = hub.publish("me/adapter", &files);
    // The backbone moves on; the adapter knows its commit.
    hub.publish("a/tiny", &[("config.json", b"{}"), ("model.safetensors", b"other")]);
    // So does the run, by the same command.
    fit_with(&hub, &dir.path().join("one"), &dir.path().join("run"), &["--resume"]);

    let image = drawings().join("photo");
    let (home, image) = (dir.path().join("two"), image.to_str().unwrap());
    let here = run("moa-infer", &hub, &home, &[], &["predict", best.to_str().unwrap(), image]);
    ended(&here, 0);
    for spec in ["me/adapter".to_owned(), format!("me/adapter@{adapter}")] {
        for offline in ["0", "1"] {
            let env = [("HF_HUB_OFFLINE", offline)];
            let found = run("moa-infer", &hub, &home, &env, &["predict", &spec, image]);
            ended(&found, 0);
            assert_eq!(stdout(&found), stdout(&here));
        }
    }
    let home = dir.path().join("three");
    let pulled = run("moa-infer", &hub, &home, &[], &["pull", "me/adapter"]);
    ended(&pulled, 0);
    let lines = stdout(&pulled);
    assert!(lines.contains(&format!("me/adapter@{adapter}\t")), "{lines}");
    assert!(lines.contains(&format!("a/tiny@{commit}\t")), "{lines}");
    let env = [("HF_HUB_OFFLINE", "1")];
    ended(&run("moa-infer", &hub, &home, &env, &["predict", "me/adapter", image]), 0);
}

#[test]
fn adapters_in_a_circle_end() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    for (repo, base) in [("me/one", "me/two"), ("me/two", "me/one")] {
        let config = format!(
            r#"{{"peft_type":"LORA","r":1,"lora_alpha":1,"target_modules":["qkv"],"base_model_name_or_path":"{base}"}}"#
        );
        // No tensors: eight bytes of length, and a header.
        let empty = [&2u64.to_le_bytes()[..], b"{}"].concat();
        let files: [(&str, &[u8]); 2] =
            [("adapter_config.json", config.as_bytes()), ("adapter_model.safetensors", &empty)];
        hub.publish(repo, &files);
    }
    let pulled = run("moa-infer", &hub, dir.path(), &[], &["pull", "me/one"]);
    let lines = stdout(&pulled);
    assert!(lines.lines().count() <= 2, "{lines}");
}

#[test]
fn through_a_proxy() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    publish_tiny(&hub, "a/tiny");
    hub.state().redirects = false; // the proxy is the only way to it
    for (proxy, code) in [(hub.url.as_str(), 0), ("http://127.0.0.1:9", 1)] {
        let env = [("HF_ENDPOINT", "http://hub.invalid"), ("HTTP_PROXY", proxy), ("NO_PROXY", "")];
        let env = [&env[..], &[("http_proxy", proxy), ("no_proxy", "")]].concat();
        ended(
            &run(
                "moa-infer",
                &hub,
                &dir.path().join(proxy.len().to_string()),
                &env,
                &["pull", "a/tiny"],
            ),
            code,
        );
    }
}

#[test]
fn what_is_nowhere_is_one_line() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    for (args, wanted) in [
        (
            ["predict", "me/none", "x.png"],
            "me/none: no such folder here: me/none: no such repository",
        ),
        (
            ["predict", "me/none@v1", "x.png"],
            "me/none@v1: no such folder here: me/none: no such repository",
        ),
        (["inspect", "me/none", "--json"], "me/none: no such folder here"),
        // Below a folder that is there; then named so that only the Hub can be meant.
        (
            ["predict", "tests/none", "x.png"],
            "tests/none: no such adapter folder, backbone folder or backbone name; on the Hub it is \
             `tests/none@main`",
        ),
        (["predict", "tests/none@main", "x.png"], "tests/none: no such repository"),
        (["predict", "facebook/dinov2-bsae", "x.png"], "did you mean `facebook/dinov2-base`?"),
        (["pull", "none", "me/none"], "`none` is no repository of the Hub"),
    ] {
        let output = run("moa-infer", &hub, dir.path(), &[], &args);
        let code = if args[0] == "pull" { 2 } else { 1 };
        ended(&output, code);
        let error = stderr(&output);
        let line = error.lines().last().unwrap_or_default();
        assert!(line.contains(wanted) && !error.contains(TOKEN), "{args:?}: {error}");
    }
}
