//! The evaluation transform of a backbone, as data.

use serde::{Deserialize, Serialize};

use super::{
    Interpolation, Normalise, PreprocessError, Rect, Rgb, center_window, resize, resize_window,
    shorter_side,
};

/// Largest side of an input or a resized image.
const MAX_SIDE: usize = 8192;

/// How an image gets the size of the input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeRule {
    /// Both sides to the input size, whatever the shape
    /// (torchvision's `Resize((height, width))`, DomainBed).
    Squash,
    /// Shorter side to `floor(size / crop_pct)`, then a centre crop (timm).
    CropPct(f64),
    /// Shorter side to this many pixels, then a centre crop (transformers, CLIP).
    ShortestEdge(usize),
}

/// From an RGB image to the numbers a backbone takes.
///
/// ```toml
/// height = 224
/// width = 224
/// resize = "squash" # or { crop_pct = 0.9 } or { shortest_edge = 256 }
/// interpolation = "bilinear"
/// mean = [0.48145466, 0.4578275, 0.40821073]
/// std = [0.26862954, 0.2613026, 0.2757771]
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// How the size is reached.
    pub resize: ResizeRule,
    /// The filter.
    pub interpolation: Interpolation,
    /// Channel means of values from 0 to 1.
    pub mean: [f32; 3],
    /// Channel deviations.
    pub std: [f32; 3],
}

impl Preprocess {
    /// Refuses settings that no image can be prepared with. Call it on
    /// anything that was read from a file.
    pub fn check(&self) -> Result<(), PreprocessError> {
        let mut sizes = vec![("height", self.height), ("width", self.width)];
        match self.resize {
            ResizeRule::ShortestEdge(side) => sizes.push(("resize.shortest_edge", side)),
            ResizeRule::CropPct(value) if !(value > 0.1 && value <= 1.0) => {
                return Err(PreprocessError::CropPct { value });
            }
            _ => {}
        }
        for (key, value) in sizes {
            if !(1..=MAX_SIDE).contains(&value) {
                let (value, max) = (value as u64, MAX_SIDE as u64);
                return Err(PreprocessError::Size { key, value, max });
            }
        }
        if self.mean.iter().any(|v| !v.is_finite()) {
            return Err(PreprocessError::Channel { key: "mean", value: self.mean, hint: "" });
        }
        if self.std.iter().any(|v| !(v.is_finite() && *v > 0.0)) {
            let hint = " above 0";
            return Err(PreprocessError::Channel { key: "std", value: self.std, hint });
        }
        Ok(())
    }

    /// Number of values in an input.
    pub fn elem_count(&self) -> usize {
        3 * self.height * self.width
    }

    /// The 8-bit image of the input size, before normalisation.
    pub fn fit(&self, image: &Rgb) -> Rgb {
        let (source, filter) = (Rect::full(image.height, image.width), self.interpolation);
        let Some(full) = self.resized(image.height, image.width) else {
            return resize(image, self.height, self.width, filter);
        };
        let (from, to) = center_window(full, (self.height, self.width));
        let part = resize_window(image, source, full, from, filter);
        if (part.height, part.width) == (self.height, self.width) {
            return part;
        }
        let mut out = Rgb::black(self.width, self.height);
        let lines = out.data.chunks_exact_mut((self.width * 3).max(1)).skip(to.top);
        for (line, row) in lines.zip(part.rows()) {
            if let Some(target) = line.get_mut(to.left * 3..(to.left + to.width) * 3) {
                target.copy_from_slice(row);
            }
        }
        out
    }

    /// Size before the centre crop; `None` without one.
    fn resized(&self, height: usize, width: usize) -> Option<(usize, usize)> {
        match self.resize {
            ResizeRule::Squash => None,
            ResizeRule::ShortestEdge(side) => Some(shorter_side(height, width, side)),
            ResizeRule::CropPct(pct) => {
                let target = |side: usize| (side as f64 / pct) as usize;
                let (high, wide) = (target(self.height), target(self.width));
                if high == wide {
                    return Some(shorter_side(height, width, high));
                }
                // timm's `ResizeKeepRatio`: cover both sides, round half to even.
                let (h, w) = (height as f64, width as f64);
                let ratio = (h / high as f64).min(w / wide as f64);
                let side = |side: f64| (side / ratio).round_ties_even() as usize;
                Some((side(h), side(w)))
            }
        }
    }

    /// The input, `[3, height, width]`.
    pub fn apply(&self, image: &Rgb) -> Vec<f32> {
        let mut out = vec![0.0; self.elem_count()];
        self.apply_into(image, &mut out);
        out
    }

    /// [`Preprocess::apply`] into the first [`Preprocess::elem_count`] values of `out`.
    pub fn apply_into(&self, image: &Rgb, out: &mut [f32]) {
        Normalise::new(self.mean, self.std).apply_into(&self.fit(image), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{center_crop, shorter_side};

    fn preprocess(height: usize, width: usize, resize: ResizeRule) -> Preprocess {
        let interpolation = Interpolation::Bicubic;
        Preprocess { height, width, resize, interpolation, mean: [0.5; 3], std: [0.25; 3] }
    }

    fn noise(width: usize, height: usize) -> Rgb {
        let data = (0..width * height * 3).map(|i| (i * i * 31 % 251) as u8).collect();
        Rgb { width, height, data }
    }

    #[test]
    fn text_forms() {
        let rules = [ResizeRule::Squash, ResizeRule::CropPct(0.9), ResizeRule::ShortestEdge(256)];
        let forms = [r#""squash""#, r#"{"crop_pct":0.9}"#, r#"{"shortest_edge":256}"#];
        for (rule, form) in rules.into_iter().zip(forms) {
            assert_eq!(serde_json::to_string(&rule).unwrap(), form);
            let whole = preprocess(224, 196, rule);
            let text = toml::to_string(&whole).unwrap();
            assert_eq!(toml::from_str::<Preprocess>(&text).unwrap(), whole, "{text}");
        }
        let text = toml::to_string(&preprocess(1, 1, ResizeRule::Squash)).unwrap() + "size = 3\n";
        assert!(toml::from_str::<Preprocess>(&text).unwrap_err().to_string().contains("`size`"));
    }

    #[test]
    fn bad_settings_are_named() {
        let message = |p: Preprocess| p.check().unwrap_err().to_string();
        let good = preprocess(224, 224, ResizeRule::Squash);
        assert_eq!(good.check(), Ok(()));
        assert!(message(Preprocess { height: 0, ..good.clone() }).contains("height is 0"));
        assert!(message(Preprocess { width: 1 << 40, ..good.clone() }).contains("width is"));
        assert!(message(Preprocess { std: [1.0, 0.0, 1.0], ..good.clone() }).contains("std is"));
        assert!(message(Preprocess { mean: [f32::NAN; 3], ..good.clone() }).contains("mean is"));
        for pct in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(message(preprocess(8, 8, ResizeRule::CropPct(pct))).contains("crop_pct"));
        }
        assert!(message(preprocess(8, 8, ResizeRule::ShortestEdge(0))).contains("shortest_edge"));
    }

    #[test]
    fn the_crop_is_that_of_the_whole_resized_image() {
        for (width, height) in [(61, 47), (47, 61), (5, 200), (33, 33)] {
            let image = noise(width, height);
            for side in [24, 30, 40] {
                let fast = preprocess(24, 30, ResizeRule::ShortestEdge(side)).fit(&image);
                let (high, wide) = shorter_side(height, width, side);
                let whole = resize(&image, high, wide, Interpolation::Bicubic);
                assert_eq!(fast, center_crop(&whole, 24, 30), "{width} {height} {side}");
            }
        }
    }

    #[test]
    fn a_wide_input_covers_both_sides() {
        let rule = preprocess(20, 40, ResizeRule::CropPct(0.8));
        // Targets 25 x 50: the width needs the larger scale, 50 / 60.
        assert_eq!(rule.resized(60, 60), Some((50, 50)));
        assert_eq!(rule.resized(10, 90), Some((25, 225)));
    }

    #[test]
    fn values_are_normalised_by_channel() {
        let mut rule = preprocess(1, 2, ResizeRule::Squash);
        rule.mean = [0.0, 0.5, 1.0];
        let image = Rgb { width: 2, height: 1, data: vec![0, 255, 51, 255, 0, 255] };
        assert_eq!(rule.apply(&image), [0.0, 4.0, 2.0, -2.0, -3.2, 0.0]);
    }

    #[test]
    fn extreme_shapes_need_little_memory() {
        let image = noise(200_000, 1);
        let out = preprocess(16, 16, ResizeRule::ShortestEdge(8192)).fit(&image);
        assert_eq!((out.width, out.height), (16, 16));
    }
}
