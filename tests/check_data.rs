//! `moa-train check-data` with the real binary.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use support::{ended, stderr, stdout, train};

fn check(data: &Path, more: &[&str]) -> std::process::Output {
    train(&[&["check-data", "--data", data.to_str().unwrap()], more].concat())
}

#[test]
fn everything_that_is_wrong_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    moa_train::synth::write_dataset(&data, 3, 2, 24).unwrap();
    let output = check(&data, &[]);
    ended(&output, 0);
    let text = stdout(&output);
    assert!(text.contains("images") && text.contains("24 to 24 pixels wide"), "{text}");
    assert_eq!(text.lines().count(), 1 + 7 + 1 + 1, "{text}");

    let image = |env: &str, class: &str, i: usize| {
        let mut all: Vec<_> =
            fs::read_dir(data.join(env).join(class)).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        all[i].clone()
    };
    fs::write(image("art", "car", 0), "").unwrap();
    let whole = fs::read(image("art", "fish", 0)).unwrap();
    fs::write(image("art", "fish", 0), &whole[..whole.len() / 2]).unwrap();
    fs::copy(image("photo", "car", 0), data.join("sketch/car/again.png")).unwrap();
    fs::copy(image("photo", "car", 1), data.join("photo/house/wrong.png")).unwrap();
    fs::copy(image("photo", "fish", 0), data.join("photo/fish/twice.png")).unwrap();
    fs::write(data.join("photo/fish/notes.txt"), "not an image").unwrap();
    let output = check(&data, &[]);
    ended(&output, 1);
    let text = stdout(&output);
    for (what, file) in [
        ("unreadable: ", "art/car"),
        ("unreadable: ", "art/fish"),
        ("same picture in two environments: ", "sketch/car/again.png"),
        ("same picture in two classes: ", "photo/house/wrong.png"),
        ("same picture twice: ", "photo/fish/twice.png"),
    ] {
        let told = text.lines().filter(|line| line.starts_with(what) && line.contains(file));
        assert_eq!(told.count(), 1, "{what}{file}: {text}");
    }
    assert!(text.contains("empty"), "{text}");
    assert!(stderr(&output).contains("3 images to mend or remove"), "{}", stderr(&output));
    let json: Value = serde_json::from_str(&stdout(&check(&data, &["--json"]))).unwrap();
    assert_eq!(json["problems"].as_array().unwrap().len(), 2);
    assert_eq!(json["duplicates"].as_array().unwrap().len(), 3);

    fs::create_dir_all(data.join("art/extra")).unwrap();
    fs::copy(image("art", "house", 0), data.join("art/extra/a.png")).unwrap();
    let output = check(&data, &[]);
    ended(&output, 1);
    assert!(stderr(&output).contains("extra"), "{}", stderr(&output));
}
