//! How often the model is right when it says that it is sure.

use super::super::svg::{Anchor, Axis, BELOW, Frame, LEFT, Svg};
use super::{Figure, Method, View, id};
use moa_infer::metrics::{Bin, Metrics};
use moa_infer::routes::palette::hex;

/// Panels in a row.
const ACROSS: usize = 3;
/// Width and height of a panel.
const SIZE: f64 = 190.0;

/// Accuracy over confidence on environments left out, a panel for each method.
pub fn figure(view: &View<'_>) -> Option<Figure> {
    let panels: Vec<_> = view
        .methods
        .iter()
        .filter_map(|m| Some((m.name, bins(m, |part| part.0)?, bins(m, |part| part.1)?)))
        .collect();
    if panels.is_empty() {
        return None;
    }
    let step = (LEFT + SIZE + 24.0, SIZE + BELOW + 34.0);
    let across = ACROSS.min(panels.len()) as f64;
    let mut svg = Svg::new(across * step.0, 2000.0);
    let names = [(hex(3), "as predicted".to_owned()), (hex(0), "with the temperature".into())];
    let top = svg.legend((LEFT, 16.0), across * step.0, &names) + 4.0;
    for (i, (name, plain, calibrated)) in panels.iter().enumerate() {
        let (col, row) = ((i % ACROSS) as f64, (i / ACROSS) as f64);
        let at = (LEFT + col * step.0, top + row * step.1 + 26.0);
        let frame = Frame {
            at,
            size: (SIZE, SIZE),
            x: Axis::round("confidence (%)", 0.0, 100.0),
            y: Axis::round("", 0.0, 100.0),
        };
        frame.draw(&mut svg);
        svg.text((at.0 + SIZE / 2.0, at.1 - 10.0), Anchor::Middle, name);
        svg.line(&[frame.place(0.0, 0.0), frame.place(100.0, 100.0)], "#888888", 1.0, true);
        for (bins, colour) in [(plain, hex(3)), (calibrated, hex(0))] {
            let all: usize = bins.iter().map(|bin| bin.images).sum();
            let filled: Vec<_> = bins.iter().filter(|bin| bin.images > 0).collect();
            let place = |bin: &Bin| frame.place(100.0 * bin.confidence, 100.0 * bin.accuracy);
            let points: Vec<_> = filled.iter().map(|bin| place(bin)).collect();
            svg.line(&points, &colour, 1.5, false);
            for bin in filled {
                let share = bin.images as f64 / all as f64;
                let title = format!(
                    "{} images, {:.1} % sure, {:.1} % right",
                    bin.images,
                    100.0 * bin.confidence,
                    100.0 * bin.accuracy
                );
                svg.dot(place(bin), (1.5 + 7.0 * share.sqrt()).round(), &colour, &title);
            }
        }
    }
    let rows = panels.len().div_ceil(ACROSS) as f64;
    let title = format!("{}: is it right when it is sure?", view.dataset);
    Some(Figure {
        id: id(&["reliability", view.dataset]),
        caption: "Share of right answers (%) over confidence, on the environments left out; on \
                  the dashed line a model is as sure as it may be. The temperature comes from \
                  validation images of the training environments. Larger dots are more images."
            .into(),
        svg: svg.with_height(top + rows * step.1).finish(&title),
        title,
    })
}

/// The bins of all runs on what they left out, together; nothing if no run has them.
fn bins(method: &Method<'_>, of: fn((Metrics, Metrics)) -> Metrics) -> Option<Vec<Bin>> {
    let mut sums: Option<Vec<Bin>> = None;
    for worth in method.runs.iter().filter_map(|(.., run)| run.worth.as_ref()) {
        for part in worth.parts.iter().filter(|part| part.held_out && part.part == "in") {
            let bins = of((part.plain.clone(), part.calibrated.clone())).reliability;
            match &mut sums {
                None => sums = Some(bins),
                Some(sums) => {
                    sums.iter_mut().zip(bins).for_each(|(sum, bin)| *sum = both(*sum, bin))
                }
            }
        }
    }
    sums
}

fn both(a: Bin, b: Bin) -> Bin {
    let images = a.images + b.images;
    let mean = |x: f64, y: f64| (x * a.images as f64 + y * b.images as f64) / images.max(1) as f64;
    Bin {
        images,
        confidence: mean(a.confidence, b.confidence),
        accuracy: mean(a.accuracy, b.accuracy),
    }
}
