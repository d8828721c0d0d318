//! Single-precision draws, as drawing needs them: one word each.

use moa_kernels::rng::Draws;

/// Shorthands on [`Draws`] for proportions, signs and choices.
pub(super) trait Dice {
    /// Uniform in `[low, high)`.
    fn range(&mut self, low: f32, high: f32) -> f32;
    /// `value` changed by at most `part` of itself, up or down.
    fn vary(&mut self, value: f32, part: f32) -> f32;
    /// 1 or -1.
    fn sign(&mut self) -> f32;
    /// True with probability `p`.
    fn maybe(&mut self, p: f32) -> bool;
}

impl Dice for Draws {
    fn range(&mut self, low: f32, high: f32) -> f32 {
        // 24 bits: every value is exact in an f32.
        let unit = (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0);
        low + (high - low) * unit
    }

    fn vary(&mut self, value: f32, part: f32) -> f32 {
        value * self.range(1.0 - part, 1.0 + part)
    }

    fn sign(&mut self) -> f32 {
        if self.next_u32() & 1 == 0 { 1.0 } else { -1.0 }
    }

    fn maybe(&mut self, p: f32) -> bool {
        self.range(0.0, 1.0) < p
    }
}
