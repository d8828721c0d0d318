//! Features of images in two dimensions.

use super::super::svg::{Anchor, Svg};
use super::{Figure, id};
use crate::analysis::{Analysis, Environment, Point};
use moa_infer::routes::palette::hex;

/// Side of a panel.
const SIDE: f64 = 380.0;

/// PCA and t-SNE, coloured by class and by environment.
pub fn figure(analysis: &Analysis, of: &[&str]) -> Option<Figure> {
    if analysis.points.len() < 4 {
        return None;
    }
    let mut svg = Svg::new(2.0 * SIDE + 40.0, 2000.0);
    let envs: Vec<String> = analysis.envs.iter().map(Environment::label).collect();
    let mut top = 0.0;
    for (what, names) in [("class", &analysis.classes), ("environment", &envs)] {
        let index = |p: &Point| if what == "class" { p.class } else { p.env };
        let legend = names.iter().enumerate().take(24).map(|(i, name)| (hex(i), name.clone()));
        let y =
            svg.legend((8.0, top + 16.0), 2.0 * SIDE + 30.0, &legend.collect::<Vec<_>>()) + 14.0;
        for (panel, (name, place)) in
            [("PCA", (|p| p.pca) as fn(&Point) -> [f64; 2]), ("t-SNE", |p| p.tsne)]
                .into_iter()
                .enumerate()
        {
            let x = 8.0 + panel as f64 * (SIDE + 16.0);
            svg.text((x + SIDE / 2.0, y - 4.0), Anchor::Middle, &format!("{name}, by {what}"));
            svg.rect((x, y), (SIDE, SIDE), "#f6f7f9", "");
            let ends = [0, 1].map(|c| {
                let values = analysis.points.iter().map(|p| place(p)[c]);
                values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
            });
            // The same scale in both directions.
            let span = ends.iter().map(|(a, b)| b - a).fold(1e-12, f64::max) * 1.06;
            for point in &analysis.points {
                let at = place(point);
                let scaled = |c: usize| 0.5 + (at[c] - 0.5 * (ends[c].0 + ends[c].1)) / span;
                let title =
                    format!("{}, {}", analysis.classes[point.class], analysis.envs[point.env].name);
                let at = (x + scaled(0) * SIDE, y + (1.0 - scaled(1)) * SIDE);
                svg.dot(at, 3.0, &hex(index(point)), &title);
            }
        }
        top = y + SIDE + 8.0;
    }
    let title = format!("{}: features", of.join(", "));
    Some(Figure {
        id: id(&[&["features"], of].concat()),
        caption: "Pooled features of images that were not trained on: their first two principal \
                  components, and a t-SNE map, in which only nearness counts. * was left out of \
                  training."
            .into(),
        svg: svg.with_height(top).finish(&title),
        title,
    })
}
