//! Maps over the image.

use super::canvas::{Canvas, width};
use super::map::LayerMap;
use super::palette::colour;
use anyhow::{Context, Result};
use image::imageops::{FilterType, resize};
use image::{ImageFormat, RgbImage};
use moa_core::image::Preprocess;
use std::io::Cursor;

/// About how wide a panel is.
const PANEL: u32 = 224;
/// Between panels.
const GAP: u32 = 16;
/// Space for a line of text above a panel.
const CAPTION: u32 = 24;
/// The bar of shares below a panel.
const BAR: u32 = 12;
/// Panels in a row.
const ACROSS: usize = 4;
/// How much of a patch is its expert's colour.
const MIX: f32 = 0.55;

/// An image as the model sees it, from its normalised pixels `[3, h, w]`.
///
/// # Errors
/// If there are not as many pixels as `preprocess` says.
pub fn as_seen(pixels: &[f32], preprocess: &Preprocess) -> Result<RgbImage> {
    let (h, w) = (preprocess.height, preprocess.width);
    let value = |c: usize, i: usize| {
        let v = pixels[c * h * w + i];
        ((v * preprocess.std[c] + preprocess.mean[c]) * 255.0).round().clamp(0.0, 255.0) as u8
    };
    anyhow::ensure!(pixels.len() == 3 * h * w, "{} values are no image", pixels.len());
    let data = (0..h * w).flat_map(|i| [0, 1, 2].map(|c| value(c, i))).collect();
    RgbImage::from_raw(w as u32, h as u32, data).context("an image of another size")
}

/// One picture: the image, then every layer's experts over it, with the expert of the class token
/// in the caption and the shares of all experts in a bar below. `names` are those of the experts.
pub fn picture(
    image: &RgbImage,
    (rows, cols): (usize, usize),
    maps: &[LayerMap],
    names: &[String],
) -> RgbImage {
    let cell = (PANEL / rows.max(cols).max(1) as u32).max(1);
    let panel = [cols as u32 * cell, rows as u32 * cell];
    let step = [panel[0].max(PANEL) + GAP, CAPTION + panel[1] + BAR + GAP];
    let count = maps.len() + 1;
    let (across, down) = (count.min(ACROSS) as u32, count.div_ceil(ACROSS) as u32);
    let legend: Vec<u32> = names.iter().map(|name| 40 + width(name, 2)).collect();
    let whole = (GAP + across * step[0]).max(2 * GAP + legend.iter().copied().max().unwrap_or(0));
    let lines = lines(&legend, whole - GAP);
    let last = lines.last().map_or(0, |(line, _)| line + 1);
    let mut canvas = Canvas::new(whole, GAP + down * step[1] + last * (CAPTION + 4) + GAP / 2);
    let image = resize(image, panel[0], panel[1], FilterType::Triangle);
    for (place, map) in std::iter::once(None).chain(maps.iter().map(Some)).enumerate() {
        let (col, row) = ((place % ACROSS) as u32, (place / ACROSS) as u32);
        let (x, y) = (GAP + col * step[0], GAP + row * step[1]);
        canvas.fill([x - 1, y + CAPTION - 1], [panel[0] + 2, panel[1] + 2], [0xb0; 3], 1.0);
        image::imageops::replace(&mut canvas.0, &image, x.into(), (y + CAPTION).into());
        let Some(map) = map else {
            canvas.text([x, y + 4], "input", 2);
            continue;
        };
        canvas.fill([x, y + 2], [18; 2], colour(map.cls as usize), 1.0);
        canvas.text([x + 26, y + 4], &short(&map.layer), 2);
        for (i, &expert) in map.grid.iter().enumerate() {
            let at = [x + (i % cols) as u32 * cell, y + CAPTION + (i / cols) as u32 * cell];
            canvas.fill(at, [cell; 2], colour(expert as usize), MIX);
        }
        let mut from = 0.0;
        for (expert, share) in map.shares().into_iter().enumerate() {
            let [start, end] =
                [from, from + share].map(|s| (s * f64::from(panel[0])).round() as u32);
            let at = [x + start, y + CAPTION + panel[1] + 3];
            canvas.fill(at, [end - start, BAR - 3], colour(expert), 1.0);
            from += share;
        }
    }
    let top = GAP + down * step[1];
    for (expert, ((line, x), name)) in lines.into_iter().zip(names).enumerate() {
        let y = top + line * (CAPTION + 4);
        canvas.fill([GAP + x, y], [18; 2], colour(expert), 1.0);
        canvas.text([GAP + x + 26, y + 1], name, 2);
    }
    canvas.0
}

/// Line and place of each entry of the legend.
fn lines(widths: &[u32], room: u32) -> Vec<(u32, u32)> {
    let (mut line, mut x) = (0, 0);
    let mut place = |&w: &u32| {
        if x > 0 && x + w > room {
            (line, x) = (line + 1, 0);
        }
        x += w;
        (line, x - w)
    };
    widths.iter().map(&mut place).collect()
}

/// A layer's name in a caption: `0 qkv` for `blocks.0.attn.qkv`.
pub fn short(layer: &str) -> String {
    let parts: Vec<&str> = layer.split('.').collect();
    match parts[..] {
        ["blocks", block, .., last] => format!("block {block} {last}"),
        _ => layer.into(),
    }
}

/// As a PNG file.
///
/// # Errors
/// If it cannot be encoded.
pub fn png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_inside() {
        let layer = |n: usize| LayerMap {
            layer: format!("blocks.{n}.attn.qkv"),
            experts: 4,
            cls: 1,
            grid: (0..49).map(|i| i % 4).collect(),
        };
        let maps: Vec<_> = (0..6).map(layer).collect();
        let names: Vec<String> = (0..4).map(|e| format!("expert {e} (rank {})", 1 << e)).collect();
        let found = picture(&RgbImage::new(32, 32), (7, 7), &maps, &names);
        // Two rows of panels and two lines of names; the margin is white all around.
        assert_eq!((found.width(), found.height()), (976, 632));
        let (w, h) = (found.width(), found.height());
        let margin = (0..w).flat_map(|x| [(x, 0), (x, h - 1)]);
        let margin = margin.chain((0..h).flat_map(|y| [(0, y), (w - 1, y)]));
        assert!(margin.into_iter().all(|(x, y)| found.get_pixel(x, y).0 == [255; 3]));
        assert!(png(&found).unwrap().starts_with(b"\x89PNG"));
        assert_eq!(short("blocks.10.mlp.fc1"), "block 10 fc1");
    }
}
