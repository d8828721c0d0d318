//! Decoding, evaluation transforms and augmentation against Pillow, torchvision
//! and timm. 8-bit results must be equal, normalised ones within 1e-6.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use moa_core::image::{
    Interpolation, Normalise, Preprocess, Rect, ResizeRule, Rgb, center_crop, decode_file, resize,
    resize_window, shorter_side,
};
use moa_train::augment::{AugmentPlan, ColourOp, flip_horizontally, grayscale, rgb_to_hsv};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

const CLIP: ([f32; 3], [f32; 3]) =
    ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.261_302_6, 0.275_777_1]);
const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// A tensor of a reference file: an image, or normalised numbers.
enum Golden {
    Pixels(Rgb),
    Numbers(Vec<f32>),
}

type File = BTreeMap<String, Golden>;
type Outcome = Result<(), Failed>;

/// One trial per stored tensor; a single failing one if the set is unreadable.
pub fn trials(root: &Path) -> Vec<Trial> {
    let found = collect(&root.join("transforms"));
    found.unwrap_or_else(|why| vec![Trial::test("transforms", move || Err(why))])
}

fn collect(root: &Path) -> Result<Vec<Trial>, Failed> {
    let index: Arc<Value> = Arc::new(serde_json::from_slice(&load(&root.join("index.json"))?)?);
    let mut trials = Vec::new();
    for image in index["images"].as_object().ok_or("index.json: images")?.keys() {
        let file = Arc::new(read(&root.join(format!("expected/{image}.safetensors")))?);
        for key in file.keys().filter(|key| is_result(key)) {
            let (file, key, index) = (file.clone(), key.clone(), index.clone());
            let path = root.join("images").join(image);
            let name = format!("transforms::{image}::{key}");
            trials.push(Trial::test(name, move || evaluation(&path, &file, &key, &index)));
        }
    }
    for image in index["colour"]["images"].as_array().ok_or("index.json: colour.images")? {
        let image = image.as_str().ok_or("index.json: colour.images")?.to_owned();
        let folder = root.join("colour");
        let mut file = read(&folder.join(format!("{image}.safetensors")))?;
        let whole = read(&folder.join(format!("{image}.pipeline.safetensors")))?;
        file.extend(whole.into_iter().map(|(key, value)| (format!("pipeline.{key}"), value)));
        let file = Arc::new(file);
        for key in file.keys().filter(|key| is_result(key)) {
            let (file, key) = (file.clone(), key.clone());
            let (index, image) = (index.clone(), image.clone());
            let name = format!("transforms::colour::{image}::{key}");
            trials.push(Trial::test(name, move || colour(&image, &file, &key, &index)));
        }
    }
    Ok(trials)
}

/// Inputs need no check, and width-first variants get theirs under the plain key.
fn is_result(key: &str) -> bool {
    !key.ends_with("input") && !key.ends_with(".width_first")
}

fn load(path: &Path) -> Result<Vec<u8>, Failed> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()).into())
}

fn read(path: &Path) -> Result<File, Failed> {
    let bytes = load(path)?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let mut file = File::new();
    for name in tensors.names() {
        let view = tensors.tensor(name)?;
        let value = match (view.dtype(), view.shape()) {
            (Dtype::U8, &[height, width, 3]) => {
                Golden::Pixels(Rgb { width, height, data: view.data().to_vec() })
            }
            (Dtype::F32, _) => {
                let numbers = view.data().as_chunks::<4>().0.iter();
                Golden::Numbers(numbers.map(|&b| f32::from_le_bytes(b)).collect())
            }
            other => return Err(format!("{name}: unexpected {other:?}").into()),
        };
        file.insert(name.to_owned(), value);
    }
    Ok(file)
}

/// A tensor of `expected/`.
fn evaluation(path: &Path, file: &File, key: &str, index: &Value) -> Outcome {
    let rgb = pixels(file, "rgb")?;
    let part: Vec<&str> = key.split('.').collect();
    match part.as_slice() {
        ["rgb"] => same(&decode_file(path)?, rgb),
        ["rgb_upright"] => match decode_file(path)? == *pixels(file, key)? {
            true => Err("the orientation tag must be ignored".into()),
            false => Ok(()),
        },
        ["squash_bilinear", stats] => {
            let (height, width) = pair(&index["sizes"][0])?;
            let resized = format!("resize.bilinear.{height}x{width}");
            let plan = preprocess((height, width), ResizeRule::Squash, "bilinear", stats)?;
            normalised(file, key, &resized, rgb, &plan)
        }
        ["resize", mode, size] => {
            let (height, width) = size.split_once('x').ok_or("size")?;
            let got = resize(rgb, height.parse()?, width.parse()?, filter(mode)?);
            same(&got, width_first(file, key)?)
        }
        ["center", mode, s, p, rest @ ..] => {
            let crop = &index["crops"][format!("{s}.{p}")];
            let (side, pct) = (integer(&crop["size"])?, crop["crop_pct"].as_f64().ok_or("pct")?);
            let plan = preprocess((side, side), ResizeRule::CropPct(pct), mode, "clip")?;
            if *rest == ["clip"] {
                return normalised(file, key, &format!("center.{mode}.{s}.{p}"), rgb, &plan);
            }
            let shorter = integer(&crop["shorter_side"])?;
            let (height, width) = shorter_side(rgb.height, rgb.width, shorter);
            let whole = resize(rgb, height, width, filter(mode)?);
            let want = width_first(file, key)?;
            same(&center_crop(&whole, side, side), want)?;
            same(&plan.fit(rgb), want)?;
            let plan = Preprocess { resize: ResizeRule::ShortestEdge(shorter), ..plan };
            same(&plan.fit(rgb), want)
        }
        _ => Err(format!("no check for {key}").into()),
    }
}

/// A tensor of `colour/`; keys of the whole pipeline start with `pipeline.`.
fn colour(image: &str, file: &File, key: &str, index: &Value) -> Outcome {
    let mut got = pixels(file, "input")?.clone();
    let jitter = |k: &str| -> Result<[(ColourOp, f64); 4], Failed> {
        let row = &index["colour"]["jitter"][k.parse::<usize>()?];
        let order = row["order"].as_array().ok_or("order")?;
        let step = |op: &Value| {
            let name = op.as_str()?;
            Some((operation(name)?, row["factors"][name].as_f64()?))
        };
        let steps: Option<Vec<_>> = order.iter().map(step).collect();
        steps.and_then(|s| s.try_into().ok()).ok_or("four known steps".into())
    };
    let part: Vec<&str> = key.split('.').collect();
    match part.as_slice() {
        ["hsv"] => got.data.as_chunks_mut().0.iter_mut().for_each(|p| *p = rgb_to_hsv(*p)),
        ["grayscale"] => grayscale(&mut got),
        ["hflip"] => flip_horizontally(&mut got),
        ["jitter", k] => jitter(k)?.iter().for_each(|(op, factor)| op.apply(&mut got, *factor)),
        ["resized_crop", mode, k] => {
            let (crop, side) = crop_box(&index["boxes"][image][k.parse::<usize>()?])?;
            let all = Rect::full(side, side);
            got = resize_window(&got, crop, (side, side), all, filter(mode)?);
            return same(&got, width_first(file, key)?);
        }
        ["pipeline", "out", kind] => {
            let (mut crop, side) = crop_box(&index["boxes"][image][0])?;
            let resized = "resized_crop.bilinear.0";
            if file.contains_key(&format!("{resized}.width_first")) {
                got = pixels(file, resized)?.clone();
                crop = Rect::full(side, side);
            }
            let plan = AugmentPlan { crop, flip: true, colour: jitter("0")?, grey: false };
            got = plan.apply(&got, side, side);
            if *kind == "clip" {
                return close(&clip_numbers(&got), file, key);
            }
        }
        [op, tag] => {
            let rows = index["colour"]["factors"][op].as_array().ok_or("factors")?;
            let row = rows.iter().find(|row| row["tag"] == *tag).ok_or("tag")?;
            let factor = row["value"].as_f64().ok_or("value")?;
            operation(op).ok_or("operation")?.apply(&mut got, factor);
        }
        _ => return Err(format!("no check for {key}").into()),
    }
    same(&got, pixels(file, key)?)
}

/// Checks normalised numbers. Where the library resized in another order, its
/// resized image is the start.
fn normalised(file: &File, key: &str, resized: &str, rgb: &Rgb, plan: &Preprocess) -> Outcome {
    if file.contains_key(&format!("{resized}.width_first")) {
        let from = pixels(file, resized)?;
        let mut got = vec![0.0; plan.elem_count()];
        Normalise::new(plan.mean, plan.std).apply_into(from, &mut got);
        return close(&got, file, key);
    }
    close(&plan.apply(rgb), file, key)
}

fn clip_numbers(image: &Rgb) -> Vec<f32> {
    let mut out = vec![0.0; image.data.len()];
    Normalise::new(CLIP.0, CLIP.1).apply_into(image, &mut out);
    out
}

fn preprocess(
    (height, width): (usize, usize),
    resize: ResizeRule,
    mode: &str,
    stats: &str,
) -> Result<Preprocess, Failed> {
    let (mean, std) = match stats {
        "clip" => CLIP,
        "imagenet" => IMAGENET,
        _ => return Err(format!("unknown statistics {stats}").into()),
    };
    Ok(Preprocess { height, width, resize, interpolation: filter(mode)?, mean, std })
}

fn filter(mode: &str) -> Result<Interpolation, Failed> {
    Ok(serde_json::from_value(Value::from(mode))?)
}

fn operation(name: &str) -> Option<ColourOp> {
    let names = ["brightness", "contrast", "saturation", "hue"];
    names.iter().position(|n| *n == name).map(|at| ColourOp::ALL[at])
}

fn crop_box(row: &Value) -> Result<(Rect, usize), Failed> {
    let at = |key: &str| integer(&row[key]);
    let (top, left) = (at("top")?, at("left")?);
    Ok((Rect { top, left, height: at("height")?, width: at("width")? }, at("size")?))
}

fn integer(value: &Value) -> Result<usize, Failed> {
    value.as_u64().map(|v| v as usize).ok_or(format!("{value} is no size").into())
}

fn pair(value: &Value) -> Result<(usize, usize), Failed> {
    Ok((integer(&value[0])?, integer(&value[1])?))
}

fn pixels<'f>(file: &'f File, key: &str) -> Result<&'f Rgb, Failed> {
    match file.get(key) {
        Some(Golden::Pixels(image)) => Ok(image),
        _ => Err(format!("{key} is missing or no image").into()),
    }
}

fn width_first<'f>(file: &'f File, key: &str) -> Result<&'f Rgb, Failed> {
    let other = format!("{key}.width_first");
    pixels(file, if file.contains_key(&other) { &other } else { key })
}

fn same(got: &Rgb, want: &Rgb) -> Outcome {
    if (got.height, got.width) != (want.height, want.width) {
        let sizes = (got.height, got.width, want.height, want.width);
        return Err(format!("sizes differ: {sizes:?}").into());
    }
    let pairs = || got.data.iter().zip(&want.data);
    let count = pairs().filter(|(a, b)| a != b).count();
    let worst = pairs().map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    match count {
        0 => Ok(()),
        _ => Err(format!("{count} of {} values differ, by up to {worst}", got.data.len()).into()),
    }
}

fn close(got: &[f32], file: &File, key: &str) -> Outcome {
    let Some(Golden::Numbers(want)) = file.get(key) else {
        return Err(format!("{key} has no numbers").into());
    };
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    match got.len() == want.len() && worst <= 1e-6 {
        true => Ok(()),
        false => Err(format!("lengths {} {}, worst {worst}", got.len(), want.len()).into()),
    }
}
