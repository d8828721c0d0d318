//! Adapters for Python's PEFT, by the real binaries. That PEFT itself gets the same logits
//! from what is written here is checked by `tests/peers/run`.
#![allow(clippy::unwrap_used)]

mod support;

use candle_core::{Device, Tensor};
use moa_core::pass::Pass;
use moa_infer::predictor::Predictor;
use std::path::Path;
use support::{ended, fit_args, infer, stderr, stdout, text, train};

fn fit(dir: &Path, method: &str, more: &[&str]) -> String {
    let out = dir.join(method).display().to_string();
    let mut all = vec!["--steps", "3"];
    all.extend(more);
    ended(&train(&fit_args(&out, method, &all)), 0);
    format!("{out}/best")
}

fn logits(model: &str, backbone: Option<&str>) -> Vec<Vec<f32>> {
    let predictor = Predictor::open(Path::new(model), backbone, &Device::Cpu).unwrap();
    let (height, width) = predictor.classifier.vit.config.image_size;
    let pixels = (0..2 * 3 * height * width).map(|i| ((i * i % 97) as f32 / 48.0) - 1.0);
    let pixels: Vec<f32> = pixels.collect();
    let images = Tensor::from_vec(pixels, (2, 3, height, width), &Device::Cpu).unwrap();
    predictor.classifier.logits(&images, &Pass::eval()).unwrap().unwrap().to_vec2().unwrap()
}

#[test]
fn single_adapters_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let bias = ["--set", "method.adapter.bias=true"];
    for (i, (method, more)) in
        [("lora", &[][..]), ("lora", &bias), ("kadaptation", &[])].into_iter().enumerate()
    {
        let folder = dir.path().join(i.to_string());
        let best = fit(&folder, method, more);
        let wanted = logits(&best, None);
        for layout in ["timm", "hf-new", "hf-legacy"] {
            let out = folder.join(layout).display().to_string();
            let args = ["export", &best, "--format", "peft", "--layout", layout, "--out", &out];
            ended(&infer(&args), 0);
            let found = logits(&out, Some("tiny"));
            for (a, b) in found.iter().flatten().zip(wanted.iter().flatten()) {
                assert!((a - b).abs() < 1e-4, "{method} {more:?} {layout}: {a} {b}");
            }
            let inspect = infer(&["inspect", &out]);
            ended(&inspect, 0);
            assert!(stdout(&inspect).contains("PEFT LORA"), "{}", stdout(&inspect));
            assert_eq!(text(&folder.join(layout).join("labels.txt")).lines().count(), 7);
        }
    }
}

#[test]
fn what_peft_cannot_hold_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out").display().to_string();
    let refused = |best: &str, layout: &str, words: &[&str]| {
        let args = ["export", best, "--format", "peft", "--layout", layout, "--out", &out];
        let output = infer(&args);
        ended(&output, 1);
        let line = stderr(&output);
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
        assert!(!Path::new(&out).exists());
    };
    let moa = fit(dir.path(), "kadaptation-moa", &[]);
    refused(&moa, "timm", &["kadaptation-moa", "load_routed.py"]);
    refused(&fit(dir.path(), "bias", &[]), "timm", &["merge"]);
    refused(&fit(dir.path(), "linear-probe", &[]), "timm", &["only a head"]);
    refused(&fit(dir.path(), "lora", &[]), "clip", &["no CLIP", "hf-new"]);
}

#[test]
fn foreign_folders_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/peft");
    let (adapter, base) = (golden.join("timm_lora_dora"), golden.join("base_timm"));
    let broken = dir.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    let copy = |name: &str| std::fs::copy(adapter.join(name), broken.join(name)).unwrap();
    copy("adapter_config.json");
    copy("adapter_model.safetensors");
    let config = text(&broken.join("adapter_config.json"));
    let says = |words: &[&str]| {
        let (model, base) = (broken.to_str().unwrap(), base.to_str().unwrap());
        let output = infer(&["merge", model, "--backbone", base, "--out", "never"]);
        ended(&output, 1);
        let line = stderr(&output);
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    };
    for (from, to, words) in [
        ("\"LORA\"", "\"VERA\"", &["peft_type", "VERA", "LOKR"][..]),
        ("\"qkv\"", "\"fc1\"", &["fc1.lora_A.weight", "missing"]),
        ("\"r\": 3", "\"r\": 4", &["lora_A.weight", "[3, 32]", "[4, 32]"]),
        ("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"", &["pissa"]),
        ("\"use_bdlora\": null", "\"use_bdlora\": {\"nblocks\": 2}", &["use_bdlora"]),
        ("\"use_dora\": true", "\"use_dora\": false", &["lora_magnitude_vector", "not part"]),
        ("\"use_dora\": true", "\"use_dora\": \"yes\"", &["use_dora", "true or false"]),
    ] {
        assert!(config.contains(from), "{from}");
        std::fs::write(broken.join("adapter_config.json"), config.replace(from, to)).unwrap();
        says(words);
    }
    std::fs::write(broken.join("adapter_config.json"), &config).unwrap();
    std::fs::remove_file(broken.join("adapter_model.safetensors")).unwrap();
    says(&["adapter_model.safetensors"]);
}
