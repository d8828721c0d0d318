//! Routing maps: the experts of patches over their images.

use super::super::svg::{Anchor, Svg};
use super::{Figure, id};
use crate::analysis::{Analysis, ImageMaps};
use base64::Engine;
use moa_infer::routes::map::LayerMap;
use moa_infer::routes::palette::{colour, hex};
use moa_infer::routes::picture::{png, short};

/// Side of a picture.
const SIDE: f64 = 112.0;
/// Around it.
const GAP: f64 = 6.0;

/// Two figures: one image of each environment through all layers; and all classes and
/// environments in the last layer that sees patches.
pub fn figures(analysis: &Analysis, of: &[&str]) -> Vec<Figure> {
    let Some(first) = analysis.maps.first() else { return Vec::new() };
    let last = first.layers.iter().rposition(|map| !map.grid.is_empty());
    let caption = "The colour over a patch is its expert; the frame is that of the class token.";
    let one = |env: usize| analysis.maps.iter().find(|image| image.env == env);
    let images: Vec<_> = (0..analysis.envs.len()).filter_map(one).collect();
    let title = format!("{}: where patches go, layer by layer", of.join(", "));
    let mut figures = vec![Figure {
        id: id(&[&["layers"], of].concat()),
        caption: caption.into(),
        svg: layers(analysis, &images).finish(&title),
        title,
    }];
    if let Some(last) = last.filter(|_| analysis.classes.len() <= 20) {
        let name = short(&first.layers[last].layer);
        let title = format!("{}: where patches go in {name}, by class and domain", of.join(", "));
        figures.push(Figure {
            id: id(&[&["classes"], of].concat()),
            caption: format!("{caption} * was left out of training."),
            svg: classes(analysis, last).finish(&title),
            title,
        });
    }
    figures
}

fn layers(analysis: &Analysis, images: &[&ImageMaps]) -> Svg {
    let columns = 1 + images.first().map_or(0, |image| image.layers.len());
    let mut svg = Svg::new(120.0 + columns as f64 * (SIDE + GAP), 2000.0);
    let top = legend(&mut svg, analysis, 120.0 + columns as f64 * (SIDE + GAP));
    for (row, image) in images.iter().enumerate() {
        let y = top + 20.0 + row as f64 * (SIDE + GAP);
        svg.text((112.0, y + SIDE / 2.0), Anchor::End, &analysis.envs[image.env].label());
        svg.text((112.0, y + SIDE / 2.0 + 16.0), Anchor::End, &analysis.classes[image.class]);
        plain(&mut svg, (120.0, y), image);
        for (col, map) in image.layers.iter().enumerate() {
            let x = 120.0 + (col + 1) as f64 * (SIDE + GAP);
            if row == 0 {
                svg.text((x + SIDE / 2.0, y - 6.0), Anchor::Middle, &short(&map.layer));
            }
            over(&mut svg, (x, y), image, map, analysis.grid);
        }
    }
    svg.with_height(top + 20.0 + images.len() as f64 * (SIDE + GAP))
}

fn classes(analysis: &Analysis, layer: usize) -> Svg {
    let width = 120.0 + analysis.classes.len() as f64 * (SIDE + GAP);
    let mut svg = Svg::new(width, 2000.0);
    let top = legend(&mut svg, analysis, width);
    for (col, class) in analysis.classes.iter().enumerate() {
        let x = 120.0 + col as f64 * (SIDE + GAP);
        svg.text((x + SIDE / 2.0, top + 14.0), Anchor::Middle, class);
    }
    for row in 0..analysis.envs.len() {
        let y = top + 20.0 + row as f64 * (SIDE + GAP);
        svg.text((112.0, y + SIDE / 2.0), Anchor::End, &analysis.envs[row].label());
        for class in 0..analysis.classes.len() {
            let here = |image: &&ImageMaps| image.env == row && image.class == class;
            if let Some(image) = analysis.maps.iter().find(here) {
                let at = (120.0 + class as f64 * (SIDE + GAP), y);
                over(&mut svg, at, image, &image.layers[layer], analysis.grid);
            }
        }
    }
    svg.with_height(top + 20.0 + analysis.envs.len() as f64 * (SIDE + GAP))
}

fn legend(svg: &mut Svg, analysis: &Analysis, width: f64) -> f64 {
    let names = analysis.experts.iter().enumerate().map(|(e, name)| (hex(e), name.clone()));
    svg.legend((8.0, 16.0), width, &names.collect::<Vec<_>>())
}

fn plain(svg: &mut Svg, at: (f64, f64), image: &ImageMaps) {
    svg.image(at, (SIDE, SIDE), &image.png, false, 1.0);
}

/// The image below its map.
fn over(
    svg: &mut Svg,
    (x, y): (f64, f64),
    image: &ImageMaps,
    map: &LayerMap,
    grid: (usize, usize),
) {
    svg.rect((x - 3.0, y - 3.0), (SIDE + 6.0, SIDE + 6.0), &hex(map.cls as usize), "class token");
    plain(svg, (x, y), image);
    if let Some(colours) = colours(map, grid) {
        svg.image((x, y), (SIDE, SIDE), &colours, true, 0.55);
    }
}

/// One pixel a patch.
fn colours(map: &LayerMap, (rows, cols): (usize, usize)) -> Option<String> {
    if map.grid.len() != rows * cols {
        return None; // the class token alone
    }
    let data = map.grid.iter().flat_map(|&expert| colour(expert as usize)).collect();
    let image = image::RgbImage::from_raw(cols as u32, rows as u32, data)?;
    Some(base64::engine::general_purpose::STANDARD.encode(png(&image).ok()?))
}
