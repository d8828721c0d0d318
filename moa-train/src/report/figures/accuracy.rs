//! Accuracy on every environment, by method.

use super::super::svg::{Axis, BELOW, Frame, LEFT, Svg};
use super::{Figure, View, id};
use crate::protocol::table::Cell;
use moa_infer::routes::palette::hex;

/// Dots with standard errors, methods side by side, environments and their mean across.
pub fn figure(view: &View<'_>) -> Option<Figure> {
    let cells: Vec<Vec<Cell>> = view
        .methods
        .iter()
        .map(|method| {
            let of = |target| {
                let mine = method.runs.iter().filter(|(group, ..)| group.target == target);
                Cell::of(&mine.map(|(_, chosen, _)| chosen.pick.acc).collect::<Vec<_>>())
            };
            (0..view.columns.len()).map(of).collect()
        })
        .collect();
    let ends = cells.iter().flatten().filter_map(|cell| Some((cell.mean?, cell.error?)));
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (m, e)| {
        (low.min(m - e), high.max(m + e))
    });
    if !low.is_finite() {
        return None;
    }
    let names: Vec<String> =
        view.columns.iter().map(|c| format!("without {c}")).chain(["mean".into()]).collect();
    let width = 130.0 * names.len() as f64;
    let legend: Vec<_> =
        view.methods.iter().enumerate().map(|(i, m)| (hex(i), m.name.to_owned())).collect();
    let mut svg = Svg::new(LEFT + width + 16.0, 2000.0);
    let top = svg.legend((LEFT, 16.0), LEFT + width, &legend) + 24.0;
    let frame = Frame {
        at: (LEFT, top),
        size: (width, 260.0),
        x: Axis::names("environment left out of training", &names),
        y: Axis::round("accuracy there (%)", low, high),
    };
    frame.draw(&mut svg);
    let count = view.methods.len() as f64;
    for (i, (method, cells)) in view.methods.iter().zip(&cells).enumerate() {
        let aside = (i as f64 - (count - 1.0) / 2.0) * 0.7 / count;
        let means: Option<Vec<f64>> = cells.iter().map(|cell| cell.mean).collect();
        let mean = means.map(|m| m.iter().sum::<f64>() / m.len() as f64);
        let average = Cell { n: 0, mean, error: mean.map(|_| 0.0) };
        for (place, cell) in cells.iter().chain([&average]).enumerate() {
            let (Some(mean), Some(error)) = (cell.mean, cell.error) else { continue };
            let x = place as f64 + aside;
            if error > 0.0 {
                let ends = [frame.place(x, mean - error), frame.place(x, mean + error)];
                svg.line(&ends, &hex(i), 2.0, false);
            }
            let title = format!("{}, {}: {mean:.1} %", method.name, names[place]);
            svg.dot(frame.place(x, mean), 5.0, &hex(i), &title);
        }
    }
    let svg = svg.with_height(top + 260.0 + BELOW);
    let title = format!("{}: accuracy on the environment left out", view.dataset);
    Some(Figure {
        id: id(&["accuracy", view.dataset]),
        caption: "Dots are means over trials, lines their standard errors; hyper-parameters and \
                  step by training-domain validation. The last group is the mean of the others."
            .into(),
        svg: svg.finish(&title),
        title,
    })
}
