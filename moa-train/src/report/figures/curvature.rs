//! The loss around what was trained, methods side by side.

use super::super::svg::{Anchor, Axis, BELOW, Frame, LEFT, Svg};
use super::{Figure, View, id};
use crate::analysis::curvature::{Spectrum, Surface};
use moa_infer::routes::palette::hex;

/// Panels in a row.
const ACROSS: usize = 3;
/// Side of a map.
const SIDE: f64 = 210.0;

/// Maps of the loss on one scale, a section through them, and densities of eigenvalues.
pub fn figures(view: &View<'_>) -> Vec<Figure> {
    let (mut surfaces, mut spectra) = (Vec::new(), Vec::new());
    for method in &view.methods {
        for (group, _, run) in &method.runs {
            let without = view.columns.get(group.target).map_or("?", String::as_str);
            let name = format!("{}, without {without}", method.name);
            let Some(analysis) = &run.analysis else { continue };
            surfaces.extend(analysis.surface.as_ref().map(|found| (name.clone(), found)));
            spectra.extend(analysis.spectrum.as_ref().map(|found| (name, found)));
        }
    }
    let maps = (!surfaces.is_empty()).then(|| {
        let title = format!("{}: the loss around what was trained", view.dataset);
        Figure {
            id: id(&["loss", view.dataset]),
            caption:
                "Cross-entropy of training images on two random directions, each row of which is \
                      as long as that of the trained tensor (1 moves every row by its own length); \
                      routing as trained, no noise, no dropout. White lines are equal losses, each \
                      twice the one before. Below, the section through the middle."
                    .into(),
            svg: draw_surfaces(&surfaces).finish(&title),
            title,
        }
    });
    let densities = (!spectra.is_empty()).then(|| {
        let title = format!("{}: eigenvalues of the loss's second derivatives", view.dataset);
        Figure {
            id: id(&["eigenvalues", view.dataset]),
            caption:
                "Density over all that trains, by stochastic Lanczos quadrature, on a logarithmic \
                      scale; the ends of a line are the outermost eigenvalues. Narrow is flat."
                    .into(),
            svg: draw_spectra(&spectra).finish(&title),
            title,
        }
    });
    maps.into_iter().chain(densities).collect()
}

fn draw_surfaces(surfaces: &[(String, &Surface)]) -> Svg {
    let all = || surfaces.iter().flat_map(|(_, s)| s.loss.iter().flatten()).copied();
    let low = all().fold(f64::INFINITY, f64::min).max(1e-6);
    let high = all().fold(low, f64::max);
    let across = ACROSS.min(surfaces.len());
    let step = (SIDE + 40.0, SIDE + 60.0);
    let width = (across as f64 * step.0).max(560.0);
    let mut svg = Svg::new(width, 2000.0);
    for (i, (name, surface)) in surfaces.iter().enumerate() {
        let at = ((i % ACROSS) as f64 * step.0 + 20.0, (i / ACROSS) as f64 * step.1 + 28.0);
        svg.text((at.0 + SIDE / 2.0, at.1 - 8.0), Anchor::Middle, name);
        map(&mut svg, at, surface, (low, high));
        let ends = [(0.0, -surface.radius), (0.5, 0.0), (1.0, surface.radius)];
        for (share, value) in ends {
            let x = at.0 + share * SIDE;
            svg.text((x, at.1 + SIDE + 15.0), Anchor::Middle, &format!("{value}"));
        }
    }
    let top = surfaces.len().div_ceil(ACROSS) as f64 * step.1 + 20.0;
    scale(&mut svg, (20.0, top), (low, high));
    section(&mut svg, top + 50.0, surfaces)
}

/// One square a place, and lines where the loss doubles.
fn map(svg: &mut Svg, (left, top): (f64, f64), surface: &Surface, (low, high): (f64, f64)) {
    let n = surface.loss.len().max(1);
    let cell = SIDE / n as f64;
    let level = |loss: f64| (loss.max(low) / low).log2().floor() as i64;
    for (row, line) in surface.loss.iter().enumerate() {
        for (col, loss) in line.iter().enumerate() {
            let share = (loss.max(low) / low).ln() / (high / low).ln().max(1e-9);
            // The first row is at the bottom.
            let at = (left + col as f64 * cell, top + (n - 1 - row) as f64 * cell);
            svg.rect(at, (cell + 0.5, cell + 0.5), &shade(share), &format!("loss {loss:.3}"));
        }
    }
    for (row, line) in surface.loss.iter().enumerate() {
        for (col, loss) in line.iter().enumerate() {
            let (x, y) = (left + col as f64 * cell, top + (n - 1 - row) as f64 * cell);
            let right = line.get(col + 1).is_some_and(|next| level(*next) != level(*loss));
            let above = surface.loss.get(row + 1).and_then(|line| line.get(col));
            if right {
                svg.line(&[(x + cell, y), (x + cell, y + cell)], "#ffffff", 1.0, false);
            }
            if above.is_some_and(|next| level(*next) != level(*loss)) {
                svg.line(&[(x, y), (x + cell, y)], "#ffffff", 1.0, false);
            }
        }
    }
}

fn scale(svg: &mut Svg, (x, y): (f64, f64), (low, high): (f64, f64)) {
    const PARTS: usize = 60;
    for i in 0..PARTS {
        let part = 240.0 / PARTS as f64;
        let share = i as f64 / (PARTS - 1) as f64;
        svg.rect((x + 50.0 + i as f64 * part, y - 11.0), (part + 0.5, 13.0), &shade(share), "");
    }
    svg.text((x + 44.0, y), Anchor::End, &format!("{low:.2}"));
    svg.text((x + 296.0, y), Anchor::Start, &format!("{high:.2} (loss, logarithmic)"));
}

fn section(svg: &mut Svg, top: f64, surfaces: &[(String, &Surface)]) -> Svg {
    let names: Vec<_> =
        surfaces.iter().enumerate().map(|(i, (name, _))| (hex(i), name.clone())).collect();
    let below = svg.legend((LEFT, top), 560.0, &names) + 20.0;
    let middle = |s: &Surface| s.loss.get(s.loss.len() / 2).cloned().unwrap_or_default();
    let values = surfaces.iter().flat_map(|(_, s)| middle(s));
    let high = values.fold(0.0, f64::max);
    let radius = surfaces.iter().map(|(_, s)| s.radius).fold(0.0, f64::max);
    let frame = Frame {
        at: (LEFT, below),
        size: (470.0, 200.0),
        x: Axis::round("first direction", -radius, radius),
        y: Axis::round("loss", 0.0, high),
    };
    frame.draw(svg);
    for (i, (_, surface)) in surfaces.iter().enumerate() {
        let line = middle(surface);
        let last = line.len().saturating_sub(1).max(1) as f64;
        let place = |(col, loss): (usize, &f64)| {
            frame.place(surface.radius * (2.0 * col as f64 / last - 1.0), *loss)
        };
        let points: Vec<_> = line.iter().enumerate().map(place).collect();
        svg.line(&points, &hex(i), 2.0, false);
    }
    svg.clone().with_height(below + 200.0 + BELOW)
}

fn draw_spectra(spectra: &[(String, &Spectrum)]) -> Svg {
    /// Smallest density that is drawn, as a share of the largest.
    const LEAST: f64 = 1e-6;
    let mut svg = Svg::new(700.0, 2000.0);
    let names: Vec<_> = spectra
        .iter()
        .enumerate()
        .map(|(i, (name, s))| {
            let (low, high) = s.ends();
            (hex(i), format!("{name}: {low:.2} to {high:.2}"))
        })
        .collect();
    let top = svg.legend((LEFT, 16.0), 690.0, &names) + 24.0;
    let ends = spectra.iter().map(|(_, s)| s.ends());
    let (low, high) =
        ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), (c, d)| (a.min(c), b.max(d)));
    let width = ((high - low) / 150.0).max(1e-9);
    const POINTS: usize = 500;
    let at = |i: usize| low - 3.0 * width + (high - low + 6.0 * width) * i as f64 / POINTS as f64;
    let curves: Vec<Vec<(f64, f64)>> = spectra
        .iter()
        .map(|(_, s)| (0..=POINTS).map(|i| (at(i), s.density(at(i), width))).collect())
        .collect();
    let most = curves.iter().flatten().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max);
    let (bottom, upper) = ((most * LEAST).log10().floor(), most.log10().ceil());
    let ticks = (bottom as i64..=upper as i64).map(|p| (p as f64, format!("1e{p}"))).collect();
    let frame = Frame {
        at: (LEFT, top),
        size: (620.0, 240.0),
        x: Axis::round("eigenvalue", low - 3.0 * width, high + 3.0 * width),
        y: Axis { label: "density".into(), low: bottom, high: upper, ticks },
    };
    frame.draw(&mut svg);
    for (i, curve) in curves.iter().enumerate() {
        // What is too small to draw interrupts the line.
        for part in curve.split(|(_, y)| *y < most * LEAST) {
            let points: Vec<_> = part.iter().map(|(x, y)| frame.place(*x, y.log10())).collect();
            if points.len() > 1 {
                svg.line(&points, &hex(i), 1.5, false);
            }
        }
    }
    svg.with_height(top + 240.0 + BELOW)
}

/// Dark blue, green, yellow: even steps of lightness (after viridis).
fn shade(share: f64) -> String {
    const STOPS: [[f64; 3]; 5] = [
        [68.0, 1.0, 84.0],
        [59.0, 82.0, 139.0],
        [33.0, 145.0, 140.0],
        [94.0, 201.0, 98.0],
        [253.0, 231.0, 37.0],
    ];
    let place = share.clamp(0.0, 1.0) * 4.0;
    let (from, part) = ((place.floor() as usize).min(3), place - place.floor().min(3.0));
    let mix =
        |c: usize| (STOPS[from][c] + (STOPS[from + 1][c] - STOPS[from][c]) * part).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}
