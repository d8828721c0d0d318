//! `moa-train push`.

use super::cli::{fit, publish_tiny, run};
use super::server::{TOKEN, TestHub};
use super::support::{drawings, ended, stderr, stdout};

#[test]
fn push_a_run_then_predict_by_its_name() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    let commit = publish_tiny(&hub, "a/tiny");
    let (home, out) = (dir.path().join("home"), dir.path().join("run"));
    let best = fit(&hub, &home, &out);
    let run_folder = out.to_str().unwrap();
    let push = |more: &[&str]| {
        let mut args = vec!["push", run_folder, "--repo", "me/adapter"];
        args.extend(more);
        run("moa-train", &hub, &home, &[], &args)
    };
    let asked = hub.state().log.len();
    let dry = push(&["--dry-run", "--license", "mit"]);
    ended(&dry, 0);
    assert_eq!(hub.state().log.len(), asked, "a dry run asked the hub");
    assert!(
        stdout(&dry).contains("adapter_model.safetensors")
            && stdout(&dry).contains("license: \"mit\"")
    );
    for (args, wanted, code) in [
        (&["--create"][..], "--license: say which", 2),
        (&["--license", "mit"], "me/adapter: no such repository of models; --create", 1),
        (&["--license", "MIT!"], "such as apache-2.0", 2),
        (&["--license", "mit", "--private"], "--create", 2),
        (
            &["--license", "mit", "--create", "--base-model", "a/none"],
            "a/none: no such repository",
            1,
        ),
    ] {
        let output = push(args);
        ended(&output, code);
        assert!(stderr(&output).contains(wanted), "{args:?}: {}", stderr(&output));
    }
    let pushed = push(&["--create", "--private", "--license", "mit", "--dataset", "a/drawings"]);
    ended(&pushed, 0);
    assert!(stdout(&pushed).starts_with(&format!("{}/me/adapter/commit/", hub.url)));
    assert!(!stderr(&pushed).contains(TOKEN));
    {
        let state = hub.state();
        assert!(state.repos["me/adapter"].private);
        let files = &state.repos["me/adapter"].at("main").unwrap().1;
        let text = |name: &str| String::from_utf8(files[name].bytes.to_vec()).unwrap();
        assert!(text("moa.json").contains(&format!("a/tiny@{commit}")));
        let card = text("README.md");
        for part in [
            "library_name: \"peft\"",
            "base_model: \"a/tiny\"",
            "datasets: [\"a/drawings\"]",
            "moa-infer predict me/adapter photo.jpg",
            "| sketch | **never seen** |",
        ] {
            assert!(card.contains(part), "{part} is not in\n{card}");
        }
        assert!(!text("adapter_config.json").contains(dir.path().to_str().unwrap()));
    }
    // The same again: nothing to do.
    let again = push(&["--license", "mit", "--dataset", "a/drawings"]);
    ended(&again, 0);
    assert!(stderr(&again).contains("nothing has changed"), "{}", stderr(&again));
    let image = drawings().join("photo");
    let image = image.to_str().unwrap();
    let there = run("moa-infer", &hub, &home, &[], &["predict", "me/adapter", image]);
    let here = run("moa-infer", &hub, &home, &[], &["predict", best.to_str().unwrap(), image]);
    ended(&there, 0);
    assert_eq!(stdout(&there), stdout(&here));
}

#[test]
fn an_adapter_of_a_folder_needs_its_base_model() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    let commit = publish_tiny(&hub, "a/tiny");
    let best = fit(&hub, dir.path(), &dir.path().join("run"));
    // As if it had been trained on a folder.
    let path = best.join("moa.json");
    let text = super::support::text(&path).replace(&format!("a/tiny@{commit}"), "/home/me/tiny");
    std::fs::write(&path, text).unwrap();
    let push = |more: &[&str]| {
        let mut args = vec!["push", best.to_str().unwrap(), "--repo", "me/a", "--license", "mit"];
        args.extend(more);
        run("moa-train", &hub, dir.path(), &[], &args)
    };
    let output = push(&["--create"]);
    ended(&output, 2);
    assert!(
        stderr(&output)
            .contains("--base-model: say where on the Hub the backbone /home/me/tiny is")
    );
    hub.publish("a/other", &[("config.json", b"{}"), ("model.safetensors", b"other")]);
    let output = push(&["--create", "--base-model", "a/other"]);
    ended(&output, 1);
    assert!(stderr(&output).contains("has other weights than the adapter was trained on"));
    ended(&push(&["--create", "--base-model", "a/tiny"]), 0);
    let state = hub.state();
    let card = &state.repos["me/a"].at("main").unwrap().1["moa.json"].bytes;
    assert!(String::from_utf8_lossy(card).contains(&format!("a/tiny@{commit}")));
}
