//! The instruction sets that products are written for.

use super::packed::MORE;
use super::tile::{COLS, ROWS};
use std::is_x86_feature_detected;

/// An instruction set. Each computes the same sums in the same order: the bits are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    /// AVX-512F.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
}

impl Isa {
    pub const ALL: [Self; 2] = [Self::Avx512, Self::Avx2];

    /// The widest of this machine, if it has any.
    pub fn widest() -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.is_here())
    }

    pub fn is_here(self) -> bool {
        match self {
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        }
    }

    /// Rows of a tile: with two vectors each they fill the registers, at once or by halves.
    pub fn rows(self) -> usize {
        match self {
            Self::Avx512 => ROWS,
            Self::Avx2 => 12,
        }
    }

    /// Steps of a stage, about: a panel of this length is 128 KiB, or 48.
    pub fn depth(self) -> usize {
        match self {
            Self::Avx512 => 1024,
            Self::Avx2 => 384,
        }
    }

    /// Steps of a long stage, about: a panel is 512 KiB.
    pub fn long_depth(self) -> usize {
        match self {
            Self::Avx512 => 4096,
            Self::Avx2 => self.depth(),
        }
    }

    /// Elements of the panels of a unit: 1.2 MiB of the second-level cache, or 672 KiB. As many
    /// panels have room with the [`MORE`] steps of a short term as without.
    pub fn panels(self) -> usize {
        let panels = match self {
            Self::Avx512 => 9,
            Self::Avx2 => 12,
        };
        panels * (self.depth() + MORE) * COLS
    }
}
