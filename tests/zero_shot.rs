//! Classes from their names, by the real binaries, on a tiny CLIP with a vocabulary of
//! single letters.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::{drawings, ended, infer, stderr, stdout, train};

/// The tiny CLIP of the reference data, with a tokenizer: letters, and letters that end a word.
fn clip(dir: &Path) -> String {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/backbones/hf_clip");
    let to = dir.join("clip");
    std::fs::create_dir(&to).unwrap();
    for name in ["config.json", "model.safetensors", "preprocessor_config.json"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let letters = ('a'..='z').map(String::from);
    let ends = ('a'..='z').map(|c| format!("{c}</w>"));
    let vocab = letters.chain(ends).enumerate().map(|(id, token)| (token, json!(id)));
    let mut vocab: serde_json::Map<String, Value> = vocab.collect();
    let marks = [("<|startoftext|>", 62), ("<|endoftext|>", 63)];
    vocab.extend(marks.map(|(name, id)| (name.to_string(), json!(id))));
    let added = marks.map(|(name, id)| {
        json!({"id": id, "content": name, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    });
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": vocab, "merges": []},
    });
    std::fs::write(to.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    to.display().to_string()
}

/// Index and probability of the best class of every image.
fn best(args: &[&str]) -> Vec<(u64, f64)> {
    let images = format!("{}/photo", drawings().display());
    let output = infer(&[&["predict"], args, &[&images, "--json"]].concat());
    ended(&output, 0);
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let top = &row["topk"][0];
        (top["index"].as_u64().unwrap(), top["prob"].as_f64().unwrap())
    };
    stdout(&output).lines().map(row).collect()
}

#[test]
fn a_head_that_begins_at_zero_shot_chooses_as_zero_shot_does() {
    let dir = tempfile::tempdir().unwrap();
    let (clip, data) = (clip(dir.path()), drawings().to_str().unwrap());
    let run = dir.path().join("run").display().to_string();
    let fit = [
        "fit",
        "--data",
        data,
        "--test-env",
        "sketch",
        "--backbone",
        &clip,
        "--method",
        "linear-probe",
        "--out",
        &run,
        "--steps",
        "1",
        "--set",
        "optim.lr=1e-12",
        "--set",
        "head.init=\"zero-shot\"",
        "--set",
        "head.template=\"my {}\"",
        "--device",
        "cpu",
        "--set",
        "train.batch_per_env=4",
    ];
    ended(&train(&fit), 0);
    let adapter = format!("{run}/best");
    let card: Value =
        serde_json::from_str(&support::text(&Path::new(&adapter).join("moa.json"))).unwrap();
    let names: Vec<&str> =
        card["classes"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let names = names.join(",");
    let zero_shot = best(&[&adapter, "--zero-shot", &names, "--template", "my {}"]);
    let trained = best(&[&adapter]);
    assert_eq!(zero_shot.len(), 42);
    let indices = |rows: &[(u64, f64)]| rows.iter().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(indices(&zero_shot), indices(&trained));
    // The backbone alone, and another template.
    best(&[&clip, "--zero-shot", &names]);
    let eval = infer(&["eval", &clip, "--data", data, "--zero-shot", "--json", "--device", "cpu"]);
    ended(&eval, 0);
    assert!(stdout(&eval).contains("\"accuracy\""));
}

#[test]
fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let clip = clip(dir.path());
    let images = format!("{}/photo", drawings().display());
    let says = |args: &[&str], code: i32, word: &str| {
        let output = infer(&[&["predict"], args, &[&images]].concat());
        ended(&output, code);
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    };
    says(&["tiny", "--zero-shot", "cat,dog"], 1, "has no text tower");
    says(&[&clip], 1, "--zero-shot");
    says(&[&clip, "--zero-shot", "cat,"], 2, "no name");
    says(&[&clip, "--zero-shot", "cat", "--template", "a photo"], 2, "{}");
    says(&[&clip, "--zero-shot", "cat", "--tokenizer", "none.json"], 1, "none.json");
    std::fs::remove_file(Path::new(&clip).join("tokenizer.json")).unwrap();
    says(&[&clip, "--zero-shot", "cat,dog"], 1, "holds no tokenizer");
}
