//! Accuracy while training.

use super::super::svg::{Anchor, Axis, BELOW, Frame, LEFT, Svg};
use super::{Figure, Method, View, id};
use crate::protocol::summary::Summary;
use moa_infer::routes::palette::hex;
use std::collections::BTreeMap;

/// Panels in a row.
const ACROSS: usize = 3;
/// Size of a panel.
const SIZE: (f64, f64) = (230.0, 150.0);

/// Validation and held-out accuracy by step, a panel for each method.
pub fn figure(view: &View<'_>) -> Option<Figure> {
    let curves: Vec<_> = view.methods.iter().map(means).collect();
    if curves.iter().all(|curve| curve.len() < 2) {
        return None;
    }
    let values = curves.iter().flat_map(BTreeMap::values).flat_map(|(a, b)| [*a, *b]);
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let last = curves.iter().filter_map(|curve| curve.keys().last()).max().copied().unwrap_or(1);
    let (y, x) = (Axis::round("", low, high), Axis::round("step", 0.0, last as f64));
    let step = (LEFT + SIZE.0 + 16.0, SIZE.1 + BELOW + 34.0);
    let across = ACROSS.min(view.methods.len()) as f64;
    let mut svg = Svg::new(across * step.0, 2000.0);
    let names = [
        (hex(0), "validation, training environments".to_owned()),
        (hex(3), "environment left out".into()),
    ];
    let top = svg.legend((LEFT, 16.0), across * step.0, &names) + 4.0;
    for (i, (method, curve)) in view.methods.iter().zip(&curves).enumerate() {
        let (col, row) = ((i % ACROSS) as f64, (i / ACROSS) as f64);
        let at = (LEFT + col * step.0, top + row * step.1 + 26.0);
        let frame = Frame { at, size: SIZE, x: x.clone(), y: y.clone() };
        frame.draw(&mut svg);
        svg.text((at.0 + SIZE.0 / 2.0, at.1 - 10.0), Anchor::Middle, method.name);
        let line = |of: fn(&(f64, f64)) -> f64| -> Vec<_> {
            curve.iter().map(|(step, values)| frame.place(*step as f64, of(values))).collect()
        };
        svg.line(&line(|(validation, _)| *validation), &hex(0), 2.0, false);
        svg.line(&line(|(_, held_out)| *held_out), &hex(3), 2.0, true);
    }
    let rows = view.methods.len().div_ceil(ACROSS) as f64;
    let title = format!("{}: accuracy while training", view.dataset);
    Some(Figure {
        id: id(&["curves", view.dataset]),
        caption: "Percent, means over all environments left out and all trials, of the runs that \
                  validation has chosen."
            .into(),
        svg: svg.with_height(top + rows * step.1).finish(&title),
        title,
    })
}

/// Means over runs in percent, by step: validation and held-out accuracy.
fn means(method: &Method<'_>) -> BTreeMap<u64, (f64, f64)> {
    let mut sums: BTreeMap<u64, (f64, f64, usize)> = BTreeMap::new();
    for (.., run) in &method.runs {
        for summary in run.records.iter().map(Summary::of) {
            let sum = sums.entry(summary.step + 1).or_default();
            sum.0 += 100.0 * summary.train_out;
            sum.1 += 100.0 * summary.test_in;
            sum.2 += 1;
        }
    }
    // Only steps that all runs have.
    let all = method.runs.len();
    let whole = sums.into_iter().filter(|(_, (.., n))| *n == all);
    whole.map(|(step, (a, b, n))| (step, (a / n as f64, b / n as f64))).collect()
}
