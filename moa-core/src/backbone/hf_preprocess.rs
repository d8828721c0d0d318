//! `preprocessor_config.json` of transformers.

use std::path::PathBuf;

use serde_json::Value;

use super::detect::Layout;
use super::error::{BackboneError, Result};
use super::folder::Folder;
use super::json::Keys;
use super::open_clip::{CLIP_MEAN, CLIP_STD};
use crate::image::{Interpolation, Preprocess, ResizeRule};

/// Written by image processors.
pub(super) const FILE: &str = "preprocessor_config.json";
/// Written by processors of images and text together; holds the other as a table.
pub(super) const JOINT_FILE: &str = "processor_config.json";

/// Reads the transform of a transformers checkpoint, and tells in which file it is.
///
/// Without a file, ViT and CLIP get what transformers' image processors of that name
/// do by default, at the model's own image size. The default of Dinov2's would be
/// wrong for every published Dinov2.
///
/// # Errors
/// If there is none for a Dinov2, or one that cannot be done here.
pub(super) fn read(
    folder: &Folder,
    layout: Layout,
    image_size: (usize, usize),
) -> Result<(Preprocess, Option<PathBuf>)> {
    if folder.has(FILE) {
        let (path, map) = (folder.file(FILE), folder.json(FILE)?);
        return Ok((parse(&Keys::new(&path, &map), layout)?, Some(path)));
    }
    if folder.has(JOINT_FILE) {
        let (path, map) = (folder.file(JOINT_FILE), folder.json(JOINT_FILE)?);
        if let Some(keys) = Keys::new(&path, &map).table("image_processor")? {
            return Ok((parse(&keys, layout)?, Some(path)));
        }
    }
    let (height, width) = image_size;
    let (resize, interpolation, mean, std) = match layout {
        Layout::HfVit => (ResizeRule::Squash, Interpolation::Bilinear, [0.5; 3], [0.5; 3]),
        Layout::HfClip if height == width => {
            (ResizeRule::ShortestEdge(height), Interpolation::Bicubic, CLIP_MEAN, CLIP_STD)
        }
        _ => {
            let reason = format!(
                "there is no {FILE}, which says how images are resized and normalised; fetch it \
                 from where the weights come from"
            );
            return Err(BackboneError::unusable(folder.path().into(), reason));
        }
    };
    Ok((Preprocess { height, width, resize, interpolation, mean, std }, None))
}

/// Absent keys have the defaults of `CLIPImageProcessor`, `BitImageProcessor` and
/// `ViTImageProcessor`.
fn parse(keys: &Keys<'_>, layout: Layout) -> Result<Preprocess> {
    let kind = match keys.text("image_processor_type")? {
        None => keys.text("feature_extractor_type")?.unwrap_or_default(),
        Some(kind) => kind,
    };
    let square = match kind {
        "" => layout == Layout::HfVit,
        _ if kind.starts_with("ViT") => true,
        _ if kind.starts_with("CLIP") || kind.starts_with("Bit") => false,
        _ => {
            let wanted = "the image processors of ViT, CLIP and Bit are supported";
            return Err(keys.unsupported("image_processor_type", wanted));
        }
    };
    keys.must("do_resize", true)?;
    keys.must("do_rescale", true)?;
    keys.must("rescale_offset", false)?;
    if let Some(factor) = keys.number("rescale_factor")?
        && (factor * 255.0 - 1.0).abs() > 1e-6
    {
        return Err(keys.unsupported("rescale_factor", "only 1/255 is supported"));
    }
    let interpolation = match keys.count("resample")? {
        Some(2) => Interpolation::Bilinear,
        Some(3) => Interpolation::Bicubic,
        None if square => Interpolation::Bilinear,
        None => Interpolation::Bicubic,
        Some(_) => {
            return Err(keys.unsupported("resample", "2 (bilinear) and 3 (bicubic) are supported"));
        }
    };
    let crop = match keys.flag("do_center_crop")?.unwrap_or(!square) {
        true => Some(keys.pair("crop_size")?.unwrap_or((224, 224))),
        false => None,
    };
    let (resize, (height, width)) = match (size(keys, square)?, crop) {
        (Size::Sides(sides), None) => (ResizeRule::Squash, sides),
        (Size::Sides(sides), Some(crop)) if sides == crop => (ResizeRule::Squash, sides),
        (Size::Shortest(side), Some(crop)) => (ResizeRule::ShortestEdge(side), crop),
        (Size::Sides(_), Some(_)) => {
            return Err(keys.unsupported(
                "crop_size",
                "with height and width in `size`, the same is expected",
            ));
        }
        (Size::Shortest(_), None) => {
            return Err(
                keys.unsupported("size", "without a centre crop, height and width are expected")
            );
        }
    };
    let (mut mean, mut std) = ([0.5; 3], [0.5; 3]);
    if keys.flag("do_normalize")?.unwrap_or(true) {
        for (key, target) in [("image_mean", &mut mean), ("image_std", &mut std)] {
            let wanted = "is missing; fetch the file again";
            *target = keys.channels(key)?.ok_or_else(|| keys.bad(key, wanted))?;
        }
    } else {
        (mean, std) = ([0.0; 3], [1.0; 3]);
    }
    Ok(Preprocess { height, width, resize, interpolation, mean, std })
}

/// What an image is resized to.
enum Size {
    Sides((usize, usize)),
    Shortest(usize),
}

/// `size` as a number (old files), `{"shortest_edge": n}` or `{"height": h, "width": w}`.
fn size(keys: &Keys<'_>, square: bool) -> Result<Size> {
    let both = |side| if square { Size::Sides((side, side)) } else { Size::Shortest(side) };
    if !keys.get("size").is_some_and(Value::is_object) {
        return Ok(both(keys.square("size")?.unwrap_or(224)));
    }
    let table = keys.table("size")?;
    let edge = table.as_ref().map(|table| table.count("shortest_edge")).transpose()?.flatten();
    match (edge, &table) {
        (Some(_), Some(table)) if table.keys().count() > 1 => {
            Err(keys.unsupported("size", "`shortest_edge` alone, or height and width, is expected"))
        }
        (Some(side), _) => Ok(Size::Shortest(side)),
        (None, _) => Ok(Size::Sides(keys.pair("size")?.unwrap_or((224, 224)))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn of_text(layout: Layout, json: &str) -> std::result::Result<Preprocess, String> {
        let text =
            format!(r#"{{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5] {json}}}"#);
        let map = serde_json::from_str(&text).unwrap();
        parse(&Keys::new(Path::new("p.json"), &map), layout).map_err(|error| error.to_string())
    }

    #[test]
    fn processors_of_all_ages() {
        let of = |layout, json: &str| {
            let p = of_text(layout, json).unwrap();
            ((p.height, p.width), p.resize, p.interpolation)
        };
        use Interpolation::{Bicubic, Bilinear};
        use ResizeRule::{ShortestEdge, Squash};
        let vit =
            r#", "feature_extractor_type": "ViTFeatureExtractor", "size": 384, "resample": 2"#;
        assert_eq!(of(Layout::HfVit, vit), ((384, 384), Squash, Bilinear));
        assert_eq!(of(Layout::HfVit, ""), ((224, 224), Squash, Bilinear));
        let clip =
            r#", "feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224"#;
        assert_eq!(of(Layout::HfClip, clip), ((224, 224), ShortestEdge(224), Bicubic));
        let bit = r#", "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256},
                     "crop_size": {"height": 224, "width": 224}, "resample": 3"#;
        assert_eq!(of(Layout::HfDinov2, bit), ((224, 224), ShortestEdge(256), Bicubic));
        let oblong = r#", "image_processor_type": "ViTImageProcessorFast",
                        "size": {"height": 24, "width": 32}"#;
        assert_eq!(of(Layout::HfVit, oblong), ((24, 32), Squash, Bilinear));
        assert_eq!(of_text(Layout::HfVit, r#", "do_normalize": false"#).unwrap().std, [1.0; 3]);
    }

    #[test]
    fn without_a_file() {
        let empty = Folder::Memory("dir".into(), vec![]);
        let found = |layout, size| read(&empty, layout, size).map(|(p, _)| (p.height, p.resize));
        assert_eq!(found(Layout::HfVit, (24, 32)).unwrap(), (24, ResizeRule::Squash));
        assert_eq!(found(Layout::HfClip, (30, 30)).unwrap(), (30, ResizeRule::ShortestEdge(30)));
        let error = found(Layout::HfDinov2, (28, 28)).unwrap_err().to_string();
        assert!(error.starts_with("dir: there is no preprocessor_config.json"), "{error}");
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (json, says) in [
            (r#", "do_center_crop": false"#, "`size` is absent; without a centre crop"),
            (r#", "resample": 0"#, "`resample` is 0"),
            (r#", "do_rescale": false"#, "`do_rescale` is false"),
            (r#", "rescale_factor": 0.0078125"#, "`rescale_factor`"),
            (r#", "size": {"shortest_edge": 256, "longest_edge": 512}"#, "`shortest_edge` alone"),
            (r#", "size": {"height": 256, "width": 256}"#, "`crop_size`"),
            (r#", "image_processor_type": "PvtImageProcessor""#, "`image_processor_type`"),
        ] {
            let error = of_text(Layout::HfClip, json).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
