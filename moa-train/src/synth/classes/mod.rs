//! The class tables. A class is a way to compose a figure with proportions of
//! its own each time; colours, place and pose are not its business.

mod animals;
mod creatures;
mod furniture;
mod glyphs;
mod objects;
mod outdoors;
mod signs;
mod tools;

use animals::ANIMALS;
use creatures::CREATURES;
use furniture::FURNITURE;
use glyphs::GLYPHS;
use objects::OBJECTS;
use outdoors::OUTDOORS;
use signs::SIGNS;
use tools::TOOLS;

use super::figure::Figure;
use moa_kernels::rng::Draws;

/// A kind of thing.
pub(super) struct Class {
    /// Folder name.
    pub name: &'static str,
    /// Adds the pieces; the figure may have any size and lie anywhere.
    pub build: fn(&mut Figure, &mut Draws),
    /// Turned by up to this angle (radians) either way.
    pub turn: f32,
    /// Whether its mirror image is the same class.
    pub mirror: bool,
}

impl Class {
    const fn new(name: &'static str, turn: f32, build: fn(&mut Figure, &mut Draws)) -> Self {
        Self { name, build, turn, mirror: true }
    }

    const fn one_sided(mut self) -> Self {
        self.mirror = false;
        self
    }
}

/// The classes of the demonstration set, in the order of their folders.
pub(super) static DEMO: [&Class; 7] =
    [OBJECTS[0], CREATURES[0], CREATURES[1], CREATURES[2], OBJECTS[1], OBJECTS[2], CREATURES[3]];

/// The classes for pretraining, none of them a demo class.
pub(super) static PRETRAIN: [&Class; PRETRAINED] =
    join([&SIGNS, &GLYPHS, &TOOLS, &FURNITURE, &ANIMALS, &OUTDOORS]);

const PRETRAINED: usize =
    SIGNS.len() + GLYPHS.len() + TOOLS.len() + FURNITURE.len() + ANIMALS.len() + OUTDOORS.len();

/// One table from several; `N` is the sum of their lengths.
const fn join<const N: usize>(groups: [&[&'static Class]; 6]) -> [&'static Class; N] {
    let mut all = [groups[0][0]; N];
    let (mut group, mut at) = (0, 0);
    while group < groups.len() {
        let mut n = 0;
        while n < groups[group].len() {
            all[at] = groups[group][n];
            (n, at) = (n + 1, at + 1);
        }
        group += 1;
    }
    all
}

/// Names in table order.
pub(super) const fn names<const N: usize>(table: &[&Class; N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut n = 0;
    while n < N {
        names[n] = table[n].name;
        n += 1;
    }
    names
}
