//! Pulling: what is taken, where it is put, and how it is used again.

use super::server::{Kind, TestHub};
use moa_infer::hub::{Http, HubError, Pulled, Settings, Token, pull};
use std::fs;
use std::path::Path;
use std::time::Duration;

pub const WEIGHTS: &str = "model.safetensors";

/// Settings for a test hub, with a cache of their own.
pub fn settings(hub: &TestHub, cache: &Path) -> Settings {
    Settings {
        endpoint: hub.url.parse().unwrap(),
        token: Token::new(super::server::TOKEN),
        implicit_token: true,
        cache: cache.into(),
        offline: false,
        pause: Duration::from_millis(1),
    }
}

pub fn try_pull(settings: &Settings, spec: &str) -> Result<Pulled, HubError> {
    pull(&Http::new(settings.clone()).unwrap(), &spec.parse().unwrap())
}

/// Bytes that are large enough for LFS, and not the same everywhere.
pub fn weights(len: usize) -> Vec<u8> {
    (0..len as u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_le_bytes()).take(len).collect()
}

pub fn backbone(hub: &TestHub, repo: &str) -> String {
    let files: [(&str, &[u8]); 4] = [
        ("README.md", b"read me"),
        ("config.json", b"{}"),
        (WEIGHTS, &weights(100_000)),
        ("pytorch_model.bin", b"pickle"),
    ];
    hub.publish(repo, &files)
}

#[test]
fn from_an_empty_cache_then_offline() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    let commit = backbone(&hub, "a/b");
    let mut settings = settings(&hub, dir.path());
    let pulled = try_pull(&settings, "a/b").unwrap();
    assert_eq!(pulled.pinned.to_string(), format!("a/b@{commit}"));
    assert_eq!(pulled.fetched, 100_002);
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights(100_000));
    assert!(
        !pulled.folder.join("README.md").exists()
            && !pulled.folder.join("pytorch_model.bin").exists()
    );
    // As Python lays it out.
    let repo = dir.path().join("models--a--b");
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), commit);
    let link = fs::read_link(pulled.folder.join(WEIGHTS)).unwrap();
    assert!(
        link.starts_with("../../blobs")
            && repo.join("blobs").join(link.file_name().unwrap()).is_file()
    );
    // A second time nothing is fetched; offline nothing is asked.
    assert_eq!(try_pull(&settings, "a/b").unwrap().fetched, 0);
    settings.offline = true;
    let asked = hub.state().log.len();
    for spec in ["a/b".to_owned(), format!("a/b@{commit}")] {
        assert_eq!(try_pull(&settings, &spec).unwrap().folder, pulled.folder);
    }
    assert_eq!(hub.state().log.len(), asked);
    for spec in ["a/c", "a/b@other"] {
        let error = try_pull(&settings, spec).unwrap_err();
        assert!(matches!(error, HubError::NotCached(_)), "{error}");
    }
}

#[test]
fn a_new_commit_is_seen_and_an_old_one_stays() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    let old = backbone(&hub, "a/b");
    let settings = settings(&hub, dir.path());
    let first = try_pull(&settings, "a/b").unwrap();
    let files: [(&str, &[u8]); 2] =
        [("config.json", b"{\"new\": 1}"), (WEIGHTS, &weights(100_000))];
    hub.publish("a/b", &files);
    let second = try_pull(&settings, "a/b").unwrap();
    assert_eq!(second.fetched, 10); // the weights are the same
    assert_ne!(first.folder, second.folder);
    let pinned = try_pull(&settings, &format!("a/b@{old}")).unwrap();
    assert_eq!((pinned.folder, pinned.fetched), (first.folder, 0));
}

#[test]
fn weights_in_shards() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    let index = |names: [&str; 2]| {
        format!(r#"{{"weight_map":{{"a":"{}","b":"{}"}}}}"#, names[0], names[1]).into_bytes()
    };
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let whole = index(names);
    let files: [(&str, &[u8]); 4] = [
        ("config.json", b"{}"),
        ("model.safetensors.index.json", &whole),
        (names[0], &weights(30_000)),
        (names[1], &weights(20_000)),
    ];
    hub.publish("a/b", &files);
    let mut settings = settings(&hub, dir.path());
    let pulled = try_pull(&settings, "a/b").unwrap();
    assert!(names.iter().all(|name| pulled.folder.join(name).is_file()));
    // Without one of them it is not whole.
    settings.offline = true;
    assert!(try_pull(&settings, "a/b").is_ok());
    fs::remove_file(pulled.folder.join(names[1])).unwrap();
    assert!(matches!(try_pull(&settings, "a/b"), Err(HubError::NotCached(_))));
    settings.offline = false;
    for (index, wanted) in [
        (index([names[0], "../x.safetensors"]), "no name of a weight file"),
        (index([names[0], "missing.safetensors"]), "there is no missing.safetensors"),
        (whole[..20].to_vec(), "EOF"),
    ] {
        hub.publish(
            "a/c",
            &[("config.json", b"{}"), ("model.safetensors.index.json", &index), files[2]],
        );
        let error = try_pull(&settings, "a/c").unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn damage_in_the_cache_is_found_and_mended() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    backbone(&hub, "a/b");
    let mut settings = settings(&hub, dir.path());
    let folder = try_pull(&settings, "a/b").unwrap().folder;
    for (name, bytes) in [(WEIGHTS, weights(100_000)), ("config.json", b"{}".to_vec())] {
        let path = fs::canonicalize(folder.join(name)).unwrap();
        let mut other = bytes.clone();
        other[1] ^= 1;
        for bad in [&other[..], &bytes[..1]] {
            fs::write(&path, bad).unwrap();
            settings.offline = true;
            let error = try_pull(&settings, "a/b").unwrap_err();
            assert!(matches!(error, HubError::CacheDamaged(..)), "{error}");
            settings.offline = false;
            assert_eq!(try_pull(&settings, "a/b").unwrap().fetched, bytes.len() as u64);
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }
}

/// Where xet is, `huggingface_hub` 2.x keeps a blob under xet's hash, for all repositories, and
/// a link to it under the hash that it is known by.
#[test]
#[cfg(unix)]
fn blobs_that_python_shares_are_checked_by_their_own_hash() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    backbone(&hub, "a/b");
    let mut settings = settings(&hub, dir.path());
    let folder = try_pull(&settings, "a/b").unwrap().folder;
    let blob = fs::canonicalize(folder.join(WEIGHTS)).unwrap();
    let xet = "5e".repeat(32);
    let shared = dir.path().join("blobs/5e").join(&xet);
    fs::create_dir_all(shared.parent().unwrap()).unwrap();
    fs::rename(&blob, &shared).unwrap();
    std::os::unix::fs::symlink(format!("../../blobs/5e/{xet}"), &blob).unwrap();
    settings.offline = true;
    assert_eq!(try_pull(&settings, "a/b").unwrap().folder, folder);
    fs::write(&shared, b"other").unwrap();
    assert!(matches!(try_pull(&settings, "a/b"), Err(HubError::CacheDamaged(..))));
    settings.offline = false;
    assert_eq!(try_pull(&settings, "a/b").unwrap().fetched, 100_000);
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights(100_000));
}

#[test]
fn what_is_not_whole_is_not_taken() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    let files: [(&str, &[u8]); 3] =
        [("config.json", b"{}"), (WEIGHTS, &weights(20_000)), ("preprocessor_config.json", b"[]")];
    let commit = hub.publish("a/b", &files);
    let mut settings = settings(&hub, dir.path());
    let spec = format!("a/b@{commit}");
    // Ends in the middle; that the weights came last does not make it whole.
    hub.fault("preprocessor_config.json", 1000, Kind::Status(404, None));
    try_pull(&settings, &spec).unwrap_err();
    settings.offline = true;
    assert!(matches!(try_pull(&settings, &spec), Err(HubError::NotCached(_))));
    hub.state().faults.clear();
    settings.offline = false;
    let folder = try_pull(&settings, &spec).unwrap().folder;
    settings.offline = true;
    assert_eq!(try_pull(&settings, &spec).unwrap().folder, folder);
    fs::remove_file(fs::canonicalize(folder.join("config.json")).unwrap()).unwrap();
    assert!(matches!(try_pull(&settings, &spec), Err(HubError::NotCached(_))));
}

#[test]
fn what_may_not_be_had_is_said() {
    let (hub, dir) = (TestHub::start(), tempfile::tempdir().unwrap());
    backbone(&hub, "a/open");
    for (repo, private, gated) in [("a/private", true, false), ("a/gated", false, true)] {
        backbone(&hub, repo);
        let mut state = hub.state();
        let repo = state.repos.get_mut(repo).unwrap();
        (repo.private, repo.gated) = (private, gated);
    }
    hub.publish("a/pickles", &[("config.json", b"{}"), ("pytorch_model.bin", b"x")]);
    hub.publish("a/nothing", &[("README.md", b"hello")]);
    let known = settings(&hub, dir.path());
    let stranger = Settings { token: None, ..known.clone() };
    let refused = Settings { token: Token::new("hf_wrong"), ..known.clone() };
    assert!(try_pull(&known, "a/private").is_ok() && try_pull(&stranger, "a/open").is_ok());
    for (settings, spec, wanted) in [
        (&known, "a/none", "no such repository"),
        (&stranger, "a/none", "no such repository"),
        (&stranger, "a/private", "or a private one (set HF_TOKEN"),
        (&refused, "a/open", "refuses the token"),
        (&known, "a/open@v2", "has no revision `v2`"),
        (&known, "a/gated", "is gated"),
        (&known, "a/pickles", "only pickled weights (pytorch_model.bin)"),
        (&known, "a/nothing", "neither an adapter nor a backbone"),
    ] {
        let error = try_pull(settings, spec).unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains("hf_"), "{spec}: {error}");
    }
}
