//! Ways to paint a scene. Four make up the demonstration set; the others serve
//! pretraining only, so that the demonstration's styles are new to a backbone.

mod art;
mod blueprint;
mod camouflage;
mod cartoon;
mod chalk;
mod contour;
mod halftone;
mod mosaic;
mod neon;
mod photo;
mod relief;
mod silhouette;
mod sketch;
mod stitch;
mod thermal;
mod watercolour;

use super::canvas::Canvas;
use super::scene::Scene;
use moa_kernels::rng::Draws;

/// A way to paint.
pub(super) struct Style {
    /// Folder name.
    pub name: &'static str,
    /// Covers the whole canvas.
    pub paint: fn(&Scene, &mut Draws, &mut Canvas),
}

/// In the order of their folders.
pub(super) static DEMO: [Style; 4] = [
    Style { name: "art", paint: art::paint },
    Style { name: "cartoon", paint: cartoon::paint },
    Style { name: "photo", paint: photo::paint },
    Style { name: "sketch", paint: sketch::paint },
];

/// In alphabetical order.
pub(super) static PRETRAIN: [Style; 12] = [
    Style { name: "blueprint", paint: blueprint::paint },
    Style { name: "camouflage", paint: camouflage::paint },
    Style { name: "chalk", paint: chalk::paint },
    Style { name: "contour", paint: contour::paint },
    Style { name: "halftone", paint: halftone::paint },
    Style { name: "mosaic", paint: mosaic::paint },
    Style { name: "neon", paint: neon::paint },
    Style { name: "relief", paint: relief::paint },
    Style { name: "silhouette", paint: silhouette::paint },
    Style { name: "stitch", paint: stitch::paint },
    Style { name: "thermal", paint: thermal::paint },
    Style { name: "watercolour", paint: watercolour::paint },
];

/// Names in table order.
pub(super) const fn names<const N: usize>(table: &[Style; N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut n = 0;
    while n < N {
        names[n] = table[n].name;
        n += 1;
    }
    names
}

/// Scalar product.
fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// 0 below `from`, 1 above `to`, smooth in between.
fn step(from: f32, to: f32, value: f32) -> f32 {
    super::noise::ease(((value - from) / (to - from)).clamp(0.0, 1.0))
}

/// Distance (points) from `v` to the nearest multiple of `period`.
fn stripe(v: f32, period: f32) -> f32 {
    let t = v / period;
    (t - (t + 0.5).floor()).abs() * period
}
