//! Pulling over a bad line, and from a server that means harm.

use super::pull::{WEIGHTS, backbone, settings, try_pull, weights};
use super::server::{Kind, TestHub};
use moa_infer::hub::HubError;
use std::fs;
use std::path::Path;

/// No file of the cache is anything but what its name says, or unfinished.
fn is_clean(cache: &Path) -> bool {
    let Ok(entries) = fs::read_dir(cache.join("models--a--b/blobs")) else { return true };
    entries.flatten().all(|entry| {
        let name = entry.file_name().into_string().unwrap();
        let digest = moa_infer::hub::Digest::of_name(&name);
        name.ends_with(".incomplete") || digest.unwrap().fits(&entry.path()).unwrap()
    })
}

#[test]
fn passing_faults_are_survived() {
    let weights = weights(100_000);
    for (path, times, kind) in [
        ("GET /api/models/a/b/revision", 2, Kind::Status(503, None)),
        ("GET /api/models/a/b/tree", 3, Kind::Status(500, None)),
        ("GET /api/models/a/b/tree", 1, Kind::Cut(5)),
        ("GET /a/b/resolve", 2, Kind::Status(429, Some(0))),
        ("GET /a/b/resolve", 1, Kind::Cut(1)),
        ("GET /objects", 4, Kind::Status(504, None)),
        ("GET /objects", 1, Kind::Cut(0)),
        ("GET /objects", 9, Kind::Cut(7_000)), // more than a few, but each brings some
        ("GET /objects", 1, Kind::Shorter(10)),
        ("GET /objects", 1, Kind::Tampered),
        ("GET /objects", 1, Kind::Body(vec![7; 100_000])),
        ("GET /objects", 1, Kind::Body(b"<html>please log in</html>".to_vec())),
        ("GET /objects", 1, Kind::Body(vec![7; 200_000])),
    ] {
        let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
        backbone(&hub, "a/b");
        hub.fault(path, times, kind.clone());
        let pulled = try_pull(&settings(&hub, dir.path()), "a/b");
        let pulled = pulled.unwrap_or_else(|e| panic!("{path} {kind:?}: {e}"));
        assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights, "{path} {kind:?}");
        assert!(is_clean(dir.path()) && hub.state().faults.is_empty(), "{path} {kind:?}");
    }
}

#[test]
fn a_cut_file_is_taken_up_where_it_ended() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    backbone(&hub, "a/b");
    hub.fault("GET /objects", 1, Kind::Cut(60_000));
    // The program ends there, and is started again.
    hub.fault("GET /objects", 5, Kind::Status(500, None));
    let settings = settings(&hub, dir.path());
    try_pull(&settings, "a/b").unwrap_err();
    let blobs = dir.path().join("models--a--b/blobs");
    let partial = fs::read_dir(blobs).unwrap().flatten().find(|e| e.path().extension().is_some());
    assert_eq!(partial.unwrap().metadata().unwrap().len(), 60_000);
    hub.state().faults.clear();
    // A server that sends too little of the rest is not believed either.
    hub.fault("GET /objects", 1, Kind::Cut(100));
    let folder = try_pull(&settings, "a/b").unwrap().folder;
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights(100_000));
}

#[test]
fn lasting_faults_end_in_a_line_and_leave_nothing() {
    for (path, kind, wanted) in [
        ("GET /api/models/a/b/revision", Kind::Status(503, None), "answered 503"),
        ("GET /api/models/a/b/revision", Kind::Status(429, Some(9_999)), "answered 429"),
        ("GET /api/models/a/b/revision", Kind::Body(b"{}".to_vec()), "names no commit"),
        ("GET /api/models/a/b/revision", Kind::Body(b"<html>".to_vec()), "no whole JSON"),
        ("GET /api/models/a/b/tree", Kind::Circle, "redirection that is not followed"),
        ("GET /a/b/resolve", Kind::Circle, "redirection that is not followed"),
        ("GET /objects", Kind::Circle, "redirection that is not followed"),
        ("GET /objects", Kind::Status(403, None), "does not allow it"),
        ("GET /objects", Kind::Tampered, "damaged twice"),
        ("GET /objects", Kind::Body(vec![7; 100_000]), "damaged twice"),
        ("GET /objects", Kind::Cut(0), "cut after 0 bytes"),
    ] {
        let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
        backbone(&hub, "a/b");
        hub.fault(path, 1000, kind.clone());
        let settings = settings(&hub, dir.path());
        let error = try_pull(&settings, "a/b").unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains('\n'), "{path} {kind:?}: {error}");
        assert!(is_clean(dir.path()), "{path} {kind:?}");
        let whole = dir.path().join("models--a--b/refs/main");
        assert!(!whole.exists(), "{path} {kind:?}");
    }
}

#[test]
fn hostile_names_are_refused() {
    for name in ["../../x", "/etc/x", r"C:\x", "a\0b", "nul", "a/../../x", "con.json", "x.", "a\\b"]
    {
        let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
        backbone(&hub, "a/b");
        hub.publish("a/b", &[("config.json", b"{}"), (WEIGHTS, b"w"), (name, b"x")]);
        let error = try_pull(&settings(&hub, dir.path()), "a/b").unwrap_err();
        assert!(matches!(error, HubError::Name(..)), "{name:?}: {error}");
        assert!(!error.to_string().contains(['\0', '\n']), "{error}");
        assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "{name:?}");
    }
}

#[test]
fn names_that_some_systems_lack_do_no_harm() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    backbone(&hub, "a/b");
    let (log, asks) = ("logs/2026-11-26 12:30:00.txt", "what?.png");
    hub.publish("a/b", &[("config.json", b"{}"), (WEIGHTS, b"w"), (log, b"x"), (asks, b"x")]);
    let folder = try_pull(&settings(&hub, dir.path()), "a/b").unwrap().folder;
    assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
}

#[test]
fn a_list_that_lies_about_sizes() {
    for (size, wanted) in [("1099511627776", "more than is read"), ("-1", "cannot be used")] {
        let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
        backbone(&hub, "a/b");
        let file = |path: &str, size: &str| {
            let oid = "0".repeat(40);
            format!(r#"{{"type":"file","path":"{path}","size":{size},"oid":"{oid}"}}"#)
        };
        let list = format!("[{},{}]", file("config.json", size), file(WEIGHTS, "5"));
        hub.fault("GET /api/models/a/b/tree", 1, Kind::Body(list.into_bytes()));
        let error = try_pull(&settings(&hub, dir.path()), "a/b").unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains('\n'), "{error}");
        assert_eq!(hub.state().count("GET /a/b/resolve"), 0);
    }
}

#[test]
fn the_token_stays_with_the_hub() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    backbone(&hub, "a/b");
    try_pull(&settings(&hub, dir.path()), "a/b").unwrap();
    let state = hub.state();
    let (hubs, stores): (Vec<_>, Vec<_>) = state.log.iter().partition(|(is_hub, ..)| *is_hub);
    assert!(hubs.iter().all(|(.., token)| *token) && !stores.is_empty());
    assert!(!stores.iter().any(|(.., token)| *token));
}

#[test]
fn while_the_hub_is_down_the_cache_serves() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    backbone(&hub, "a/b");
    let settings = settings(&hub, dir.path());
    let folder = try_pull(&settings, "a/b").unwrap().folder;
    let files: [(&str, &[u8]); 2] = [("config.json", b"{\"new\": 1}"), (WEIGHTS, &weights(50_000))];
    hub.publish("a/b", &files);
    for (path, kind) in [
        ("GET /api/models/a/b/revision", Kind::Status(503, None)),
        ("GET /api/models/a/b/revision", Kind::Status(429, Some(9_999))),
        ("GET /api/models/a/b/tree", Kind::Status(500, None)),
        ("GET /objects", Kind::Cut(0)),
    ] {
        hub.fault(path, 1000, kind.clone());
        let pulled = try_pull(&settings, "a/b").unwrap_or_else(|e| panic!("{path} {kind:?}: {e}"));
        assert_eq!(pulled.folder, folder, "{path} {kind:?}");
        assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights(100_000));
        hub.state().faults.clear();
    }
    // What is wrong with the request itself is still said.
    hub.fault("GET /api/models/a/b/revision", 1000, Kind::Status(403, None));
    assert!(matches!(try_pull(&settings, "a/b"), Err(HubError::Forbidden(..))));
    hub.state().faults.clear();
    assert_ne!(try_pull(&settings, "a/b").unwrap().folder, folder);
}

#[test]
fn without_a_network_the_cache_serves() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    backbone(&hub, "a/b");
    let mut settings = settings(&hub, dir.path());
    let pulled = try_pull(&settings, "a/b").unwrap();
    settings.endpoint = "http://127.0.0.1:9".parse().unwrap(); // nobody listens
    assert_eq!(try_pull(&settings, "a/b").unwrap().folder, pulled.folder);
    let error = try_pull(&settings, "a/c").unwrap_err().to_string();
    assert!(error.contains("cannot be reached"), "{error}");
}
