//! Which experts take the tokens of which domain and class, by layer.

use super::super::svg::{Anchor, LEFT, Svg};
use super::{Figure, id};
use crate::analysis::{Analysis, Environment, LayerUsage};
use moa_infer::routes::palette::hex;
use moa_infer::routes::picture::short;

/// Panels in a row.
const ACROSS: usize = 3;
/// Size of a bar, and from one to the next.
const BAR: (f64, f64) = (200.0, 20.0);

/// Two figures: bars of environments, and of classes.
pub fn figures(analysis: &Analysis, of: &[&str]) -> Vec<Figure> {
    if analysis.usage.is_empty() {
        return Vec::new();
    }
    let experts = analysis.experts.len();
    let sum = |rows: &mut dyn Iterator<Item = &Vec<u64>>| {
        rows.fold(vec![0; experts], |mut sums, row| {
            sums.iter_mut().zip(row).for_each(|(sum, n)| *sum += n);
            sums
        })
    };
    let by_env = |usage: &LayerUsage| -> Vec<Vec<u64>> {
        usage.tokens.iter().map(|classes| sum(&mut classes.iter())).collect()
    };
    let by_class = |usage: &LayerUsage| -> Vec<Vec<u64>> {
        let class = |c: usize| sum(&mut usage.tokens.iter().map(|classes| &classes[c]));
        (0..analysis.classes.len()).map(class).collect()
    };
    let envs: Vec<String> = analysis.envs.iter().map(Environment::label).collect();
    let figure = |what: &str,
                  names: &[String],
                  counts: &dyn Fn(&LayerUsage) -> Vec<Vec<u64>>,
                  more: &str| {
        let title = format!("{}: experts by {what}", of.join(", "));
        Figure {
            id: id(&[&["usage", what], of].concat()),
            caption: format!(
                "Share of each expert in the tokens of a {what}, layer by layer.{more}"
            ),
            svg: draw(analysis, names, counts).finish(&title),
            title,
        }
    };
    let mut figures = vec![figure("domain", &envs, &by_env, " * was left out of training.")];
    if analysis.classes.len() <= 20 {
        figures.push(figure("class", &analysis.classes, &by_class, ""));
    }
    figures
}

fn draw(
    analysis: &Analysis,
    names: &[String],
    counts: &dyn Fn(&LayerUsage) -> Vec<Vec<u64>>,
) -> Svg {
    let side = names.iter().map(|n| super::super::svg::text_width(n)).fold(LEFT, f64::max) + 8.0;
    let step = (side + BAR.0 + 16.0, names.len() as f64 * BAR.1 + 40.0);
    let across = ACROSS.min(analysis.usage.len()) as f64;
    let rows = analysis.usage.len().div_ceil(ACROSS) as f64;
    let mut svg = Svg::new(across * step.0, 2000.0);
    let legend: Vec<_> =
        analysis.experts.iter().enumerate().map(|(e, name)| (hex(e), name.clone())).collect();
    let top = svg.legend((8.0, 16.0), across * step.0, &legend);
    for (i, usage) in analysis.usage.iter().enumerate() {
        let left = (i % ACROSS) as f64 * step.0 + side;
        let y = top + (i / ACROSS) as f64 * step.1 + 22.0;
        svg.text((left + BAR.0 / 2.0, y - 6.0), Anchor::Middle, &short(&usage.layer));
        for (row, (name, counts)) in names.iter().zip(counts(usage)).enumerate() {
            let y = y + row as f64 * BAR.1;
            svg.text((left - 6.0, y + 14.0), Anchor::End, name);
            let total = counts.iter().sum::<u64>().max(1) as f64;
            let mut from = 0.0;
            for (expert, n) in counts.iter().enumerate() {
                let share = *n as f64 / total;
                let title = format!("{name}, {}: {:.1} %", analysis.experts[expert], 100.0 * share);
                svg.rect(
                    (left + from * BAR.0, y),
                    (share * BAR.0, BAR.1 - 3.0),
                    &hex(expert),
                    &title,
                );
                from += share;
            }
        }
    }
    svg.with_height(top + rows * step.1)
}
