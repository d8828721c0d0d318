//! Demo style: lit solids with texture and a cast shadow before an out-of-focus
//! background, seen through a lens and a noisy sensor.

use super::super::canvas::Canvas;
use super::super::colour::{Colour, Palette, hsv, lift, mix, scale};
use super::super::dice::Dice;
use super::super::noise;
use super::super::raster::Raster;
use super::super::sampling::Warp;
use super::super::scene::Scene;
use super::{dot, step};
use moa_kernels::rng::Draws;

pub(super) fn paint(scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let palette = Palette::random(draws, [0.1, 0.7], [0.3, 0.95]).before(earthy(draws));
    let behind = Palette::random(draws, [0.05, 0.5], [0.2, 0.85]);
    let bend = draws.range(0.2, 0.7);
    let warp = Warp::new(grid, bend, 20.0, draws.next_u32());
    backdrop(&palette, draws, canvas);
    clutter(&scene.clutter(grid, &warp, &behind, 4.0), scene, draws, canvas);
    let figure = scene.figure(grid, &warp, &palette, 4.0);
    shadow(&figure, scene, draws, canvas);
    solid(&figure, scene, draws, canvas);
    lens(draws, canvas);
}

/// Soil, sand, grass, water, stone or paint.
fn earthy(draws: &mut Draws) -> Colour {
    let (hue, saturation) = match draws.below(5) {
        0 => (draws.range(0.03, 0.1), draws.range(0.2, 0.6)),
        1 => (draws.range(0.1, 0.15), draws.range(0.2, 0.5)),
        2 => (draws.range(0.2, 0.38), draws.range(0.2, 0.6)),
        3 => (draws.range(0.52, 0.64), draws.range(0.2, 0.55)),
        _ => (draws.range(0.0, 1.0), draws.range(0.0, 0.25)),
    };
    hsv(hue, saturation, draws.range(0.2, 0.85))
}

/// Land under a sky, a wall, or foliage.
fn backdrop(palette: &Palette, draws: &mut Draws, canvas: &mut Canvas) {
    let kind = draws.below(3);
    let waves = match kind {
        0 => [draws.range(4.0, 9.0), draws.range(2.0, 4.0)],
        1 => [draws.range(16.0, 40.0); 2],
        _ => [draws.range(7.0, 14.0); 2],
    };
    let rough = [0.35, 0.25, 0.9][kind as usize] * draws.range(0.6, 1.2);
    let field = noise::cloud(canvas.grid, waves, 3, draws.next_u32());
    let near = palette.ground;
    let other = hsv(draws.range(0.5, 0.7), draws.range(0.05, 0.45), draws.range(0.5, 0.95));
    let far = if kind == 2 { scale(near, 0.45) } else { mix(near, other, 0.75) };
    let horizon = if kind == 2 { 80.0 } else { draws.range(18.0, 52.0) };
    let (tilt, soft) = (draws.range(-0.12, 0.12), draws.range(0.6, 4.0));
    let fall = draws.range(-0.3, 0.3) / 64.0;
    canvas.fill(|index, [x, y]| {
        let ground = step(-soft, soft, y - horizon - tilt * (x - 32.0));
        let n = field[index] * rough;
        let sky = lift(mix(far, near, 0.5 * n + if kind == 2 { 0.5 } else { 0.15 }), n * 0.12);
        let land = scale(near, 1.0 + n * 0.7);
        lift(mix(sky, land, ground), fall * (x + y - 64.0))
    });
}

/// Out of focus: soft edges, no detail.
fn clutter(raster: &Raster, scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let soft = draws.range(1.0, 3.5);
    canvas.retouch(|index, _, behind| {
        let d = raster.outer[index];
        if d >= soft {
            return behind;
        }
        let light = 0.6 + 0.5 * dot(raster.normal(index, 4.0), scene.light);
        mix(behind, scale(raster.colour[index], light), step(soft, -soft, d))
    });
}

/// The outline, shifted away from the light, darkens what is behind.
fn shadow(figure: &Raster, scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let (throw, soft) = (draws.range(3.0, 7.0), draws.range(1.5, 3.5));
    let dark = draws.range(0.3, 0.6);
    let [x, y, _] = scene.light.map(|v| v * throw);
    canvas.retouch(|_, [px, py], colour| {
        let d = figure.outer[grid.at(px + x, py + y)];
        if d < soft { scale(colour, 1.0 - dark * step(soft, -soft, d)) } else { colour }
    });
}

/// Diffuse and specular light on bulging, textured pieces.
fn solid(figure: &Raster, scene: &Scene, draws: &mut Draws, canvas: &mut Canvas) {
    let grid = canvas.grid;
    let (radius, ambient) = (draws.range(4.0, 8.0), draws.range(0.25, 0.45));
    let (gloss, rough) = (draws.range(0.0, 0.5), draws.range(0.05, 0.3));
    let wave = draws.range(1.5, 5.0);
    let texture = noise::cloud(grid, [wave, wave * draws.range(0.6, 1.6)], 2, draws.next_u32());
    let [lx, ly, lz] = scene.light;
    let long = (lx * lx + ly * ly + (lz + 1.0) * (lz + 1.0)).sqrt();
    let half = [lx / long, ly / long, (lz + 1.0) / long];
    canvas.retouch(|index, _, behind| {
        let cover = grid.cover(figure.outer[index]);
        if cover == 0.0 {
            return behind;
        }
        let normal = figure.normal(index, radius);
        let lit = dot(normal, scene.light).max(0.0);
        let shine = dot(normal, half).max(0.0);
        let shine = shine * shine * shine * shine;
        let shine = shine * shine * shine * shine;
        let albedo = scale(figure.colour[index], 1.0 + rough * texture[index]);
        mix(behind, lift(scale(albedo, ambient + 0.85 * lit), gloss * shine), cover)
    });
}

/// Blur, vignette, colour cast, contrast and sensor noise.
fn lens(draws: &mut Draws, canvas: &mut Canvas) {
    canvas.blur(draws.range(0.3, 0.9));
    let cast = [0; 3].map(|_| draws.range(0.88, 1.08));
    let (contrast, bright) = (draws.range(0.85, 1.15), draws.range(-0.05, 0.08));
    let corner = draws.range(0.0, 0.3) / 2048.0;
    let (seed, noisy) = (draws.next_u32(), draws.range(0.01, 0.05));
    canvas.retouch(|index, [x, y], colour| {
        let fall = 1.0 - corner * ((x - 32.0) * (x - 32.0) + (y - 32.0) * (y - 32.0));
        let bits = noise::hash(seed, index as i32, 0);
        [0, 1, 2].map(|c| {
            // 10 bits of noise for each channel.
            let unit = ((bits >> (10 * c)) & 1023) as f32 * (1.0 / 512.0) - 1.0;
            (colour[c] * cast[c] * fall - 0.5) * contrast + 0.5 + bright + noisy * unit
        })
    });
}
