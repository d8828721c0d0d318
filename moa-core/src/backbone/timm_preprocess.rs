//! timm's evaluation transform (`resolve_data_config` and `create_transform`).

use super::error::Result;
use super::json::Keys;
use crate::image::{Interpolation, Preprocess, ResizeRule};

/// timm's defaults for keys that are absent.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];
const CROP_PCT: f64 = 0.875;

/// From `pretrained_cfg`. An image size among the arguments of the model also is
/// the size of the input, unless the model takes inputs of any size.
pub(super) fn preprocess(
    keys: &Keys<'_>,
    args: &Keys<'_>,
    image_size: (usize, usize),
) -> Result<Preprocess> {
    let any_size = args.flag("dynamic_img_size")? == Some(true);
    let fixed = !any_size && keys.flag("fixed_input_size")?.unwrap_or(true);
    let (height, width) = match keys.get("input_size") {
        None => image_size,
        Some(_) if fixed && args.get("img_size").is_some() => image_size,
        Some(value) => {
            let sides: Option<Vec<u64>> =
                value.as_array().and_then(|list| list.iter().map(|side| side.as_u64()).collect());
            match sides.as_deref() {
                Some(&[3, height, width]) => (height as usize, width as usize),
                _ => return Err(keys.unsupported("input_size", "[3, height, width] is expected")),
            }
        }
    };
    let crop_pct = keys.number("crop_pct")?.unwrap_or(CROP_PCT);
    let resize = match keys.text("crop_mode")? {
        None | Some("center") => ResizeRule::CropPct(crop_pct),
        Some("squash") if crop_pct == 1.0 => ResizeRule::Squash,
        Some(_) => {
            let wanted = "\"center\" is supported, and \"squash\" with crop_pct = 1";
            return Err(keys.unsupported("crop_mode", wanted));
        }
    };
    let interpolation = match keys.text("interpolation")? {
        None | Some("bicubic") => Interpolation::Bicubic,
        Some("bilinear") => Interpolation::Bilinear,
        Some(_) => {
            return Err(
                keys.unsupported("interpolation", "\"bicubic\" and \"bilinear\" are supported")
            );
        }
    };
    Ok(Preprocess {
        height,
        width,
        resize,
        interpolation,
        mean: keys.channels("mean")?.unwrap_or(MEAN),
        std: keys.channels("std")?.unwrap_or(STD),
    })
}
