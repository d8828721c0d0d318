//! What is taken for what.

use super::super::svg::{Anchor, Svg, text_width};
use super::{Figure, View, id};

/// Classes with names at both sides and numbers in the cells; with more, colours alone.
const NAMED: usize = 12;
/// Panels in a row.
const ACROSS: usize = 2;

/// One matrix.
struct Panel {
    name: String,
    classes: Vec<String>,
    /// `[true][answer]` counts.
    confusion: Vec<Vec<usize>>,
}

/// For each method a figure with a matrix for every environment left out, trials together.
pub fn figures(view: &View<'_>) -> Vec<Figure> {
    let figure = |method: &super::Method<'_>| {
        let mut panels: Vec<Panel> = Vec::new();
        for (group, _, run) in &method.runs {
            let Some(worth) = &run.worth else { continue };
            for part in worth.parts.iter().filter(|part| part.held_out && part.part == "in") {
                let name =
                    format!("without {}", view.columns.get(group.target).unwrap_or(&part.env));
                let confusion = part.plain.confusion.clone();
                match panels.iter_mut().find(|panel| panel.name == name) {
                    None => panels.push(Panel { name, classes: worth.classes.clone(), confusion }),
                    Some(panel) => {
                        let all =
                            panel.confusion.iter_mut().flatten().zip(confusion.iter().flatten());
                        all.for_each(|(sum, n)| *sum += n);
                    }
                }
            }
        }
        (!panels.is_empty()).then(|| {
            let title = format!("{}: what {} takes for what", view.dataset, method.name);
            Figure {
                id: id(&["confusion", view.dataset, method.name]),
                caption: "Rows are the true classes, columns the answers, on the environment left \
                          out; numbers are percent of the row."
                    .into(),
                svg: draw(&panels).finish(&title),
                title,
            }
        })
    };
    view.methods.iter().filter_map(figure).collect()
}

fn draw(panels: &[Panel]) -> Svg {
    let classes = panels.first().map_or(1, |panel| panel.classes.len());
    let named = classes <= NAMED;
    let cell = if named { 36.0 } else { (300.0 / classes as f64).max(1.0) };
    let names = panels.iter().flat_map(|panel| &panel.classes).map(|c| text_width(c));
    let side = if named { names.fold(0.0, f64::max) + 10.0 } else { 12.0 };
    let width = side + cell * classes as f64 + 28.0;
    let height = 30.0 + cell * classes as f64 + if named { 26.0 } else { 12.0 };
    let (across, down) = (ACROSS.min(panels.len()), panels.len().div_ceil(ACROSS));
    let mut svg = Svg::new(across as f64 * width, down as f64 * height);
    for (i, Panel { name, classes, confusion }) in panels.iter().enumerate() {
        let left = (i % ACROSS) as f64 * width + side;
        let top = (i / ACROSS) as f64 * height + 30.0;
        svg.text((left + cell * classes.len() as f64 / 2.0, top - 10.0), Anchor::Middle, name);
        for (row, (class, counts)) in classes.iter().zip(confusion).enumerate() {
            let all = counts.iter().sum::<usize>().max(1) as f64;
            let y = top + row as f64 * cell;
            for (col, n) in counts.iter().enumerate() {
                let share = *n as f64 / all;
                let x = left + col as f64 * cell;
                let answer = classes.get(col).map_or("", String::as_str);
                let title = format!("{class} taken for {answer}: {n}");
                let gap = if named { 1.0 } else { 0.0 };
                svg.rect((x, y), (cell - gap, cell - gap), &shade(share), &title);
                if named && share >= 0.005 {
                    let (text, middle) =
                        (format!("{:.0}", 100.0 * share), (x + cell / 2.0, y + cell / 2.0 + 4.5));
                    svg.tinted_text(
                        middle,
                        Anchor::Middle,
                        &text,
                        if share > 0.55 { "#ffffff" } else { "#1a1a1a" },
                    );
                }
            }
            if named {
                svg.text((left - 6.0, y + cell / 2.0 + 4.5), Anchor::End, class);
                let short: String = class.chars().take(4).collect();
                let below = top + cell * classes.len() as f64 + 15.0;
                svg.text((left + (row as f64 + 0.5) * cell, below), Anchor::Middle, &short);
            }
        }
    }
    svg
}

/// From white to dark blue.
fn shade(share: f64) -> String {
    let mix = |from: f64, to: f64| (from + (to - from) * share.clamp(0.0, 1.0)).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(244.0, 0.0), mix(246.0, 84.0), mix(249.0, 148.0))
}
