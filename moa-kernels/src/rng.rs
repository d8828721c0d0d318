//! The one source of randomness: Philox4x32-10 (Salmon et al., "Parallel random
//! numbers: as easy as 1, 2, 3", SC 2011), a counter-based generator.
//!
//! A number depends only on `(seed, purpose, step, index)`, never on how many
//! numbers were drawn before it or on which thread drew it. That is what makes
//! runs equal for any thread count and lets a resumed run continue with the
//! bits of an undisturbed one. Only integer arithmetic is used up to the words,
//! so the CPU, CUDA and Metal produce the same ones.

/// What a random number is for; numbers of different purposes are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Initial values of trainable tensors; `index` is a hash of the name.
    Init = 1,
    /// Noise on router logits; `index` is (layer, token, expert).
    RouterNoise = 2,
    /// Kept entries of a Kronecker delta; `index` is (layer, expert, entry).
    DropConnect = 3,
    /// Dropout in front of the classification head.
    HeadDropout = 4,
    /// Which images form a batch; `index` is the environment.
    Sampling = 5,
    /// Augmentation of one image; `index` is its place in the batch.
    Augment = 6,
    /// Generated images.
    Drawing = 7,
    /// Kept inner ranks of a Kronecker expert; `index` is (layer, expert, factor, rank).
    RankDropout = 8,
    /// Pictures of what was learned: places, directions.
    Analysis = 9,
}

/// `(seed, purpose, step)`: everything but the index.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    seed: u64,
    purpose: Purpose,
    step: u32,
}

impl Key {
    /// The numbers of `purpose` at training step `step` of a run seeded `seed`.
    pub fn new(seed: u64, purpose: Purpose, step: u32) -> Self {
        Self { seed, purpose, step }
    }

    /// Four words at `index`, for filling arrays in any order.
    pub fn block(&self, index: u64) -> [u32; 4] {
        self.nth(index, 0)
    }

    /// The blocks of `N` neighbouring indices from `first` on: word `w` of the `i`th
    /// is `[w][i]`. Meant for [`crate::cpu::vectorise`].
    #[inline(always)]
    pub(crate) fn blocks<const N: usize>(&self, first: u64) -> [[u32; N]; 4] {
        let index: [u64; N] = std::array::from_fn(|i| first + i as u64);
        let [low, high] = [0, 32].map(|shift| index.map(|i| (i >> shift) as u32));
        rounds([low, high, [self.step; N], [self.tag(0); N]], self.words())
    }

    /// An endless sequence of draws belonging to `index` (one image, say).
    pub fn draws(&self, index: u64) -> Draws {
        Draws { key: *self, index, next: 0, words: [0; 4] }
    }

    fn nth(&self, index: u64, block: u32) -> [u32; 4] {
        let counter = [index as u32, (index >> 32) as u32, self.step, self.tag(block)];
        philox(counter, self.words())
    }

    fn tag(&self, block: u32) -> u32 {
        (self.purpose as u32) << 24 | (block & 0x00ff_ffff)
    }

    /// What a kernel needs besides the index: the seed's words, the step and the tag.
    pub(crate) fn parts(&self) -> [u32; 4] {
        let [low, high] = self.words();
        [low, high, self.step, self.tag(0)]
    }

    fn words(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }
}

/// A sequence of draws; see [`Key::draws`].
#[derive(Clone, Debug)]
pub struct Draws {
    key: Key,
    index: u64,
    next: u32,
    words: [u32; 4],
}

impl Draws {
    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        let lane = (self.next % 4) as usize;
        if lane == 0 {
            self.words = self.key.nth(self.index, self.next / 4);
        }
        self.next += 1;
        self.words[lane]
    }

    /// Uniform in `[0, 1)` with 53 random bits.
    pub fn next_f64(&mut self) -> f64 {
        let (high, low) = (self.next_u32() as u64, self.next_u32() as u64);
        ((high << 21) ^ (low >> 11)) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next_f64()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.next_f64() < p
    }

    /// Uniform in `0..n`, without bias (Lemire's method). `n` must not be 0.
    pub fn below(&mut self, n: u32) -> u32 {
        let reject_under = n.wrapping_neg() % n;
        loop {
            let wide = self.next_u32() as u64 * n as u64;
            if wide as u32 >= reject_under {
                return (wide >> 32) as u32;
            }
        }
    }

    /// Standard normal (Box-Muller, the cosine branch).
    pub fn normal(&mut self) -> f64 {
        let words = [self.next_u32(), self.next_u32()];
        box_muller(words).0
    }

    /// Shuffles a slice (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }
}

/// Two standard normals from two words. Uses `libm`, whose results do not
/// depend on the platform's own mathematics library.
pub fn box_muller(words: [u32; 2]) -> (f64, f64) {
    const SCALE: f64 = 1.0 / (1u64 << 32) as f64;
    let (u, v) = ((words[0] as f64 + 0.5) * SCALE, (words[1] as f64 + 0.5) * SCALE);
    let radius = libm::sqrt(-2.0 * libm::log(u));
    let (sin, cos) = libm::sincos(std::f64::consts::TAU * v);
    (radius * cos, radius * sin)
}

/// Ten rounds of Philox4x32.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    rounds(counter.map(|word| [word]), key).map(|[word]| word)
}

/// The ten rounds for `N` counters side by side: vector code.
#[inline(always)]
fn rounds<const N: usize>(counters: [[u32; N]; 4], [mut k0, mut k1]: [u32; 2]) -> [[u32; N]; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counters;
    for _ in 0..10 {
        for (((c0, c1), c2), c3) in c0.iter_mut().zip(&mut c1).zip(&mut c2).zip(&mut c3) {
            let (a, b) = (0xD251_1F53u64 * *c0 as u64, 0xCD9E_8D57u64 * *c2 as u64);
            (*c0, *c1, *c2, *c3) =
                ((b >> 32) as u32 ^ *c1 ^ k0, b as u32, (a >> 32) as u32 ^ *c3 ^ k1, a as u32);
        }
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (`kat_vectors`).
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
        assert_eq!(
            philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn draws_do_not_depend_on_each_other() {
        let key = Key::new(7, Purpose::Augment, 3);
        let mut first = key.draws(5);
        let wanted: Vec<u32> = (0..9).map(|_| first.next_u32()).collect();
        let mut other = key.draws(6);
        assert_ne!(other.next_u32(), wanted[0]);
        let mut again = key.draws(5);
        assert_eq!((0..9).map(|_| again.next_u32()).collect::<Vec<_>>(), wanted);
        assert_eq!(key.block(5), wanted[..4]);
        for first in [5, u32::MAX as u64 - 2] {
            let side_by_side = key.blocks::<7>(first);
            for i in 0..7 {
                assert_eq!(side_by_side.map(|word| word[i]), key.block(first + i as u64));
            }
        }
    }

    #[test]
    fn normals_have_the_right_moments() {
        let mut draws = Key::new(1, Purpose::RouterNoise, 0).draws(0);
        let n = 200_000;
        let (mut mean, mut square, mut fourth) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let z = draws.normal();
            mean += z / n as f64;
            square += z * z / n as f64;
            fourth += z.powi(4) / n as f64;
        }
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((square - 1.0).abs() < 0.02, "{square}");
        assert!((fourth - 3.0).abs() < 0.1, "{fourth}");
    }

    #[test]
    fn below_is_uniform() {
        let mut draws = Key::new(2, Purpose::Sampling, 0).draws(0);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[draws.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|&c| (9_500..10_500).contains(&c)), "{counts:?}");
    }
}
