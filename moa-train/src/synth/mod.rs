//! A seeded generator of small labelled pictures, so that a demonstration and a
//! pretraining run need nothing downloaded.
//!
//! A picture is a class (a composition of signed-distance primitives with random
//! proportions) in a scene (place, pose, light, clutter) painted in a style.
//! Colours are drawn without regard to the class. The two families share neither
//! classes nor styles. Only single-precision additions, multiplications,
//! divisions and square roots, integer hashes and `libm` are used, so a picture
//! has the same bytes on every platform.

mod canvas;
mod classes;
mod colour;
mod dataset;
mod dice;
mod figure;
mod noise;
mod pen;
mod plane;
mod raster;
mod sampling;
mod scene;
mod shape;
mod style;
mod surface;

pub use dataset::{Summary, SynthError, write_dataset};

use canvas::{Canvas, Grid};
use moa_core::image::Rgb;
use moa_kernels::rng::Draws;
use scene::Scene;

/// Which classes and styles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// The demonstration set: seven classes in four styles, as in PACS.
    Demo,
    /// For pretraining: other classes in other styles.
    Pretrain,
}

static DEMO_CLASSES: [&str; classes::DEMO.len()] = classes::names(&classes::DEMO);
static DEMO_STYLES: [&str; style::DEMO.len()] = style::names(&style::DEMO);
static PRETRAIN_CLASSES: [&str; classes::PRETRAIN.len()] = classes::names(&classes::PRETRAIN);
static PRETRAIN_STYLES: [&str; style::PRETRAIN.len()] = style::names(&style::PRETRAIN);

/// Names of the classes of a family; their places are the labels.
pub fn classes(family: Family) -> &'static [&'static str] {
    match family {
        Family::Demo => &DEMO_CLASSES,
        Family::Pretrain => &PRETRAIN_CLASSES,
    }
}

/// Names of the styles of a family.
pub fn styles(family: Family) -> &'static [&'static str] {
    match family {
        Family::Demo => &DEMO_STYLES,
        Family::Pretrain => &PRETRAIN_STYLES,
    }
}

/// Draws one picture of `size * size` pixels.
///
/// `style` and `class` are places in [`styles`] and [`classes()`]; they wrap
/// around at the end. The bytes depend on the arguments only.
pub fn draw(family: Family, style: usize, class: usize, size: u32, draws: &mut Draws) -> Rgb {
    let (classes, styles): (&[&classes::Class], &[style::Style]) = match family {
        Family::Demo => (&classes::DEMO, &style::DEMO),
        Family::Pretrain => (&classes::PRETRAIN, &style::PRETRAIN),
    };
    if size == 0 {
        return Rgb { width: 0, height: 0, data: Vec::new() };
    }
    let scene = Scene::new(classes[class % classes.len()], draws);
    let mut canvas = Canvas::new(Grid::new(size));
    (styles[style % styles.len()].paint)(&scene, draws, &mut canvas);
    canvas.into_rgb()
}

#[cfg(test)]
mod tests;
