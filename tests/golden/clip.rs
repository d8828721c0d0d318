//! CLIP models with both towers (`goldenlib/backbones.py`: open_clip, transformers): features
//! of texts, logits of images against texts, ids of the tokenizer.
//!
//! The ids need the vocabulary, which is not kept here: `MOA_CLIP_BPE=FILE` names
//! `bpe_simple_vocab_16e6.txt.gz` or a `tokenizer.json` of CLIP.

use crate::common::{Checks, Golden, json, values};
use candle_core::{Device, Tensor};
use libtest_mimic::{Failed, Trial};
use moa_core::backbone::Backbone;
use moa_core::clip::{TextTokenizer, TextTower};
use moa_core::pass::Pass;
use moa_infer::predictor::Predictor;
use std::path::{Path, PathBuf};

const FEATURES: f64 = 1e-4;
const LOGITS: f64 = 1e-3;

pub fn trials(root: &Path) -> Vec<Trial> {
    let dir = root.join("backbones");
    let index = json(&dir.join("index.json"));
    let mut trials = Vec::new();
    for (name, facts) in index.as_object().unwrap() {
        if facts["library"] == "open_clip" || facts["cls"] == "CLIPModel" {
            let folder = dir.join(name);
            trials.push(Trial::test(format!("clip::{name}"), move || towers(&folder)));
        }
    }
    let prompts = dir.join("clip_tokenizer_prompts.json");
    let vocabulary = std::env::var_os("MOA_CLIP_BPE").map(PathBuf::from);
    let ready = prompts.is_file() && vocabulary.is_some();
    let ids = Trial::test("clip::token_ids", move || token_ids(&prompts, &vocabulary.unwrap()));
    trials.push(ids.with_ignored_flag(!ready));
    trials
}

fn unit(x: &Tensor) -> candle_core::Result<Tensor> {
    x.broadcast_div(&x.sqr()?.sum_keepdim(1)?.sqrt()?)
}

fn towers(folder: &Path) -> Result<(), Failed> {
    let golden = Golden::open(&folder.join("expected.safetensors"));
    let backbone = Backbone::open(folder)?;
    let tower = TextTower::open(&backbone, &Device::Cpu)?;
    let rows: Vec<Vec<i64>> = golden.get("token_ids").to_vec2()?;
    let rows: Vec<Vec<u32>> =
        rows.iter().map(|row| row.iter().map(|&id| id as u32).collect()).collect();
    let (text, mut checks) = (tower.forward(&rows)?, Checks::default());
    let mut check = |what: &str, got: &Tensor, tolerance: f64| {
        if golden.find(what).is_some() {
            checks.close(what, &values(got), &golden.values(what), tolerance);
        }
    };
    check("out.text_features", &text, FEATURES);
    check("out.text_features_normalised", &unit(&text)?, FEATURES);
    check("out.text_embeds_normalised", &unit(&text)?, FEATURES);
    let scale = Tensor::new(&[tower.logit_scale], &Device::Cpu)?;
    check("out.logit_scale_exp", &scale, FEATURES);
    let raw = backbone.read("projection.weight")?;
    let projection = Tensor::from_vec(raw.data, raw.shape, &Device::Cpu)?;
    let predictor = Predictor::open(folder, None, &Device::Cpu)?;
    let image = predictor.classifier.features(golden.get("pixel_values"), &Pass::eval())?;
    let image = image.matmul(&projection.t()?)?;
    check("out.image_features", &image, FEATURES);
    let logits = (unit(&image)?.matmul(&unit(&text)?.t()?)? * tower.logit_scale)?;
    check("out.logits_per_image", &logits, LOGITS);
    // Without the padding it is the same.
    let cut: Vec<Vec<u32>> = rows
        .iter()
        .map(|row| row[..=row.iter().rposition(|&id| id != 0).unwrap()].to_vec())
        .collect();
    check("out.text_features", &tower.forward(&cut)?, FEATURES);
    checks.done()
}

fn token_ids(prompts: &Path, vocabulary: &Path) -> Result<(), Failed> {
    let tokenizer = TextTokenizer::open(vocabulary)?;
    let (prompts, mut checks) = (json(prompts), Checks::default());
    for prompt in prompts["prompts"].as_array().unwrap() {
        let text = prompt["text"].as_str().unwrap();
        let wanted: Vec<u32> = prompt["ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap() as u32)
            .collect();
        let mut found = tokenizer.encode(text, wanted.len())?;
        found.resize(wanted.len(), 0);
        checks.that(&format!("{text:?}: {found:?}, not {wanted:?}"), found == wanted);
    }
    checks.done()
}
