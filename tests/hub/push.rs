//! Pushing: one commit, on the head that it was planned on, whatever happens on the way.

use super::pull::{settings, try_pull, weights};
use super::server::{Kind, TOKEN, TestHub};
use moa_infer::hub::{Content, Http, HubError, Pushed, Settings, Target, Token, Upload, push};
use std::path::Path;

const COMMIT: &str = "POST /api/models/me/a/commit";

fn target() -> Target {
    Target {
        repo: "me/a".parse().unwrap(),
        revision: None,
        create: true,
        private: false,
        pull_request: false,
        message: "Upload".into(),
    }
}

fn upload(path: &str, bytes: &[u8]) -> Upload {
    Upload { path: path.into(), content: Content::Bytes(bytes.to_vec()) }
}

/// A text and weights.
fn files(note: &str) -> Vec<Upload> {
    let large = upload("adapter_model.safetensors", &weights(60_000));
    vec![upload("moa.json", note.as_bytes()), large, upload("empty.txt", b"")]
}

fn try_push(settings: &Settings, target: &Target, files: &[Upload]) -> Result<Pushed, HubError> {
    push(&Http::new(settings.clone()).unwrap(), target, files)
}

fn here(hub: &TestHub) -> Settings {
    settings(hub, Path::new("/nonexistent"))
}

#[track_caller]
fn assert_holds(hub: &TestHub, files: &[Upload]) {
    let state = hub.state();
    let (_, head) = state.repos["me/a"].at("main").unwrap();
    for file in files {
        let Content::Bytes(bytes) = &file.content else { unreachable!() };
        assert_eq!(*head[&file.path].bytes, *bytes, "{}", file.path);
        assert_eq!(head[&file.path].is_lfs, file.path.ends_with(".safetensors"));
    }
}

#[test]
fn what_is_pushed_is_pulled() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    let pushed = try_push(&here(&hub), &target(), &files("{}")).unwrap();
    assert_eq!(pushed.changed, ["moa.json", "adapter_model.safetensors", "empty.txt"]);
    assert_holds(&hub, &files("{}"));
    let pulled = try_pull(&settings(&hub, dir.path()), "me/a").unwrap();
    assert_eq!(pulled.pinned.to_string(), format!("me/a@{}", pushed.commit));
    let read = std::fs::read(pulled.folder.join("adapter_model.safetensors")).unwrap();
    assert_eq!(read, weights(60_000));
}

#[test]
fn only_what_differs_and_nothing_at_all() {
    let hub = TestHub::start();
    let first = try_push(&here(&hub), &target(), &files("{}")).unwrap();
    let again = try_push(&here(&hub), &target(), &files("{}")).unwrap();
    assert_eq!((again.commit, again.changed.len()), (first.commit, 0));
    assert_eq!(hub.state().count(COMMIT), 1);
    let next = try_push(&here(&hub), &target(), &files("{ }")).unwrap();
    assert_eq!(next.changed, ["moa.json"]);
    assert_eq!(hub.state().count("PUT /objects"), 1);
    let ignored = [upload("ignored.log", b"x")];
    assert!(try_push(&here(&hub), &target(), &ignored).unwrap().changed.is_empty());
}

#[test]
fn large_files_go_in_parts_and_from_disk() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    hub.state().part = 16_000;
    let path = dir.path().join("w");
    std::fs::write(&path, weights(60_000)).unwrap();
    let file = Upload { path: "w.safetensors".into(), content: Content::File(path) };
    hub.fault("/2", 1, Kind::Status(500, None)); // one part twice
    try_push(&here(&hub), &target(), &[file]).unwrap();
    let state = hub.state();
    assert_eq!(
        state.repos["me/a"].at("main").unwrap().1["w.safetensors"].bytes.to_vec(),
        weights(60_000)
    );
    assert_eq!(state.count("PUT /objects"), 5);
    assert!(!state.log.iter().any(|(is_hub, _, token)| !is_hub && *token), "a token left the hub");
}

#[test]
fn a_lost_answer_is_not_a_second_commit() {
    for (fault, commits) in [(Kind::AfterAll, 1), (Kind::Cut(3), 1), (Kind::Status(500, None), 2)] {
        let hub = TestHub::start();
        hub.fault(COMMIT, 1, fault.clone());
        let pushed = try_push(&here(&hub), &target(), &files("{}")).unwrap();
        assert_holds(&hub, &files("{}"));
        let state = hub.state();
        assert_eq!(state.repos["me/a"].commits.len(), 2, "{fault:?}"); // the first made the repository
        assert_eq!(state.count(COMMIT), commits, "{fault:?}");
        assert_eq!(state.repos["me/a"].at("main").unwrap().0, pushed.commit);
    }
}

#[test]
fn passing_faults_are_survived() {
    for (path, kind) in [
        ("GET /api/whoami-v2", Kind::Status(503, None)),
        ("POST /api/repos/create", Kind::AfterAll),
        ("POST /api/models/me/a/preupload", Kind::Status(429, Some(0))),
        ("POST /me/a.git", Kind::Cut(4)),
        ("PUT /objects", Kind::Status(502, None)),
        ("PUT /objects", Kind::AfterAll),
        ("POST /lfs/verify", Kind::Status(500, None)),
        (COMMIT, Kind::Status(429, Some(0))),
    ] {
        let hub = TestHub::start();
        hub.fault(path, 1, kind.clone());
        try_push(&here(&hub), &target(), &files("{}"))
            .unwrap_or_else(|e| panic!("{path} {kind:?}: {e}"));
        assert_holds(&hub, &files("{}"));
    }
}

#[test]
fn somebody_else_was_faster() {
    // Between plan and commit: the fault makes room for another push.
    let hub = TestHub::start();
    try_push(&here(&hub), &target(), &files("{}")).unwrap();
    let other = hub.clone();
    let mine = std::thread::spawn(move || {
        other.fault("POST /api/models/me/a/commit", 1, Kind::Status(503, Some(1)));
        try_push(&here(&other), &target(), &files("{\"mine\": 1}"))
    });
    while hub.state().count(COMMIT) < 2 {
        std::thread::yield_now();
    }
    let theirs = [upload("moa.json", b"theirs")];
    try_push(&here(&hub), &target(), &theirs).unwrap();
    let error = mine.join().unwrap().unwrap_err();
    assert!(matches!(error, HubError::Moved(_)), "{error}");
    assert_holds(&hub, &theirs);
}

#[test]
fn two_at_once_are_two_commits_or_one_clear_error() {
    let hub = TestHub::start();
    try_push(&here(&hub), &target(), &files("{}")).unwrap();
    let pushes: Vec<_> = (0..6)
        .map(|i| {
            let hub = hub.clone();
            std::thread::spawn(move || {
                let file = upload(&format!("{i}.txt"), format!("{i}").as_bytes());
                (file.clone(), try_push(&here(&hub), &target(), &[file]))
            })
        })
        .collect();
    let (mut made, mut moved) = (Vec::new(), 0);
    for push in pushes {
        match push.join().unwrap() {
            (file, Ok(_)) => made.push(file),
            (_, Err(HubError::Moved(_))) => moved += 1,
            (_, Err(error)) => panic!("{error}"),
        }
    }
    assert!(!made.is_empty() && made.len() + moved == 6);
    assert_holds(&hub, &made);
    assert_eq!(hub.state().repos["me/a"].commits.len(), 2 + made.len());
}

#[test]
fn a_pull_request_leaves_the_branch_alone() {
    let hub = TestHub::start();
    let first = try_push(&here(&hub), &target(), &files("{}")).unwrap();
    let proposal = Target { pull_request: true, ..target() };
    let pushed = try_push(&here(&hub), &proposal, &files("{ }")).unwrap();
    assert!(pushed.url.ends_with("/me/a/discussions/1"), "{}", pushed.url);
    let commits = |hub: &TestHub| hub.state().repos["me/a"].commits.len();
    assert_eq!(hub.state().repos["me/a"].at("main").unwrap().0, first.commit);
    assert_eq!(commits(&hub), 3);
    hub.fault(COMMIT, 1, Kind::AfterAll);
    let error = try_push(&here(&hub), &proposal, &files("{  }")).unwrap_err();
    assert!(matches!(error, HubError::Lost(_)) && commits(&hub) == 4, "{error}");
}

#[test]
fn what_is_refused_is_said() {
    let hub = TestHub::start();
    let known = here(&hub);
    let nobody = Settings { token: None, ..known.clone() };
    let wrong = Settings { token: Token::new("hf_wrong"), ..known.clone() };
    let no_create = Target { create: false, ..target() };
    let elsewhere = Target { repo: "you/a".parse().unwrap(), ..target() };
    let branch = Target { revision: Some("dev".into()), ..target() };
    for (settings, target, wanted) in [
        (&nobody, &target(), "needs a token"),
        (&wrong, &target(), "refuses the token"),
        (&known, &no_create, "--create makes it"),
        (&known, &elsewhere, "does not allow it"),
        (&known, &branch, "has no revision `dev`"),
    ] {
        let error = try_push(settings, target, &files("{}")).unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains("hf_"), "{error}");
    }
    // A token that is not to go along by itself still pushes.
    let explicit = Settings { implicit_token: false, ..known };
    try_push(&explicit, &target(), &files("{}")).unwrap();
    assert!(TOKEN.starts_with("hf_"));
}
