//! Vision towers of every layout, at their own and at other image sizes
//! (`goldenlib/backbones.py`: timm, open_clip, transformers).

use crate::common::{Checks, Golden, json, values};
use candle_core::{DType, Device, Tensor};
use libtest_mimic::{Failed, Trial};
use moa_core::backbone::Backbone;
use moa_core::method::Method;
use moa_core::model::Build;
use moa_core::pass::Pass;
use std::path::Path;

pub fn trials(root: &Path) -> Vec<Trial> {
    let dir = root.join("backbones");
    let index = json(&dir.join("index.json"));
    let mut trials = Vec::new();
    for name in index.as_object().unwrap().keys() {
        let folder = dir.join(name);
        for file in std::fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            if stem.starts_with("expected") {
                let folder = folder.clone();
                let title = format!("backbones::{name}::{stem}");
                trials.push(Trial::test(title, move || run(&folder, &path)));
            }
        }
    }
    trials
}

const TOLERANCE: f64 = 1e-4;

fn run(folder: &Path, expected: &Path) -> Result<(), Failed> {
    let golden = Golden::open(expected);
    let backbone = Backbone::open(folder)?;
    let images = golden.get("pixel_values");
    let (_, _, h, w) = images.dims4()?;
    let method = Method::linear_probe();
    let build = Build {
        backbone: &backbone,
        method: &method,
        image_size: (h, w),
        dtype: DType::F32,
        device: &Device::Cpu,
    };
    let model = build.plain()?;
    let stages = model.vit.stages(images, &Pass::eval())?;
    let mut checks = Checks::default();
    let mut seen = 0;
    let mut check = |what: &str, got: &Tensor| {
        if golden.find(what).is_some() {
            seen += 1;
            checks.close(what, &values(got), &golden.values(what), TOLERANCE);
        }
    };
    check("out.embedded", &stages.embedded);
    for (i, block) in stages.blocks.iter().enumerate() {
        check(&format!("out.block{i}"), block);
    }
    check("out.tokens", &stages.tokens);
    check("out.after_ln_post", &stages.tokens);
    check("out.vision_tokens_before_post_norm", stages.blocks.last().unwrap());
    check("out.pooled", &stages.pooled);
    check("out.vision_pooled", &stages.pooled);
    check("out.cls", &stages.pooled);
    check("out.patch_mean", &model.vit.patch_mean(&stages.tokens)?);
    check("out.pooled", &model.features(images, &Pass::eval())?);
    if let Some(logits) = model.logits(images, &Pass::eval())? {
        check("out.logits", &logits);
    } else {
        check("out.logits", &stages.pooled); // timm: no head, the feature itself
    }
    if backbone.config.projection_dim.is_some() {
        let raw = backbone.read("projection.weight")?;
        let weight = Tensor::from_vec(raw.data, raw.shape, &Device::Cpu)?;
        let features = stages.pooled.matmul(&weight.t()?)?;
        check("out.image_features", &features);
        check("out.image_embeds", &features);
        let unit = features.broadcast_div(&features.sqr()?.sum_keepdim(1)?.sqrt()?)?;
        check("out.image_features_normalised", &unit);
        check("out.image_embeds_normalised", &unit);
    }
    checks.that("nothing was compared", seen > 0);
    checks.done()
}
