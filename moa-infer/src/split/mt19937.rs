//! The generator behind numpy's `RandomState(seed)` and the few draws that
//! DomainBed makes from it.
//!
//! This is not a source of randomness for anything else: it exists so that our
//! splits and hyper-parameters are those of the published benchmark.

const N: usize = 624;
const M: usize = 397;

/// MT19937 seeded by one integer (`init_genrand`), as `numpy.random.RandomState`.
#[derive(Clone)]
pub struct RandomState {
    words: [u32; N],
    next: usize,
}

impl RandomState {
    /// The state after `numpy.random.RandomState(seed)`.
    pub fn new(seed: u32) -> Self {
        let mut words = [seed; N];
        for i in 1..N {
            let last = words[i - 1];
            words[i] = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        Self { words, next: N }
    }

    /// The next 32-bit word.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.refill();
        }
        let mut y = self.words[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn refill(&mut self) {
        for i in 0..N {
            let y = (self.words[i] & 0x8000_0000) | (self.words[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.words[i] = self.words[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// A number of `0..=max` by masked rejection (`random_interval`); no word
    /// is drawn for `max` 0.
    pub fn interval(&mut self, max: usize) -> usize {
        let max = max as u64;
        let mask = u64::MAX.checked_shr(max.leading_zeros()).unwrap_or(0);
        if mask == 0 {
            return 0;
        }
        loop {
            let low = u64::from(self.next_u32());
            let word = if mask > u64::from(u32::MAX) {
                low << 32 | u64::from(self.next_u32())
            } else {
                low
            };
            if word & mask <= max {
                return (word & mask) as usize;
            }
        }
    }

    /// `RandomState.shuffle` of a list, in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.interval(i));
        }
    }

    /// `RandomState.random_sample()`: 53 bits in `[0, 1)`.
    pub fn random_sample(&mut self) -> f64 {
        let high = f64::from(self.next_u32() >> 5);
        let low = f64::from(self.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// `RandomState.uniform(low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.random_sample()
    }

    /// `RandomState.choice(items)`, which goes through the legacy `randint`;
    /// `None` if there are no items.
    pub fn choice<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let last = items.len().checked_sub(1)?;
        items.get(self.interval(last)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first words of the reference program `mt19937ar.c` seeded 5489.
    #[test]
    fn reference_words() {
        let mut state = RandomState::new(5489);
        let words: Vec<u32> = (0..4).map(|_| state.next_u32()).collect();
        assert_eq!(words, [3_499_211_612, 581_869_302, 3_890_346_734, 3_586_334_585]);
        // C++11 [rand.predef]: the 10000th word
        assert_eq!((4..10_000).map(|_| state.next_u32()).last(), Some(4_123_659_995));
    }

    /// `numpy.random.RandomState(0).random_sample()` and `.uniform(-5, -3.5)`.
    #[test]
    fn numpy_floats() {
        assert_eq!(RandomState::new(0).random_sample(), 0.548_813_503_927_324_8);
        assert_eq!(RandomState::new(0).uniform(-5.0, -3.5), -4.176_779_744_109_012);
    }

    /// `RandomState(7)`: five times `choice([0.0, 0.1, 0.5])`.
    #[test]
    fn numpy_choices() {
        let mut state = RandomState::new(7);
        let drawn: Vec<f64> = (0..5).filter_map(|_| state.choice(&[0.0, 0.1, 0.5])).collect();
        assert_eq!(drawn, [0.0, 0.1, 0.5, 0.0, 0.1]);
        assert_eq!(state.choice::<u8>(&[]), None);
    }

    /// One element or none draws no word.
    #[test]
    fn nothing_to_shuffle() {
        let mut state = RandomState::new(1);
        state.shuffle(&mut [0u8; 0]);
        state.shuffle(&mut [0u8; 1]);
        assert_eq!(state.choice(&[3]), Some(3));
        assert_eq!(state.next_u32(), RandomState::new(1).next_u32());
    }

    #[test]
    fn wide_intervals_take_two_words() {
        let mut state = RandomState::new(3);
        let (high, low) = (u64::from(state.next_u32()), u64::from(state.next_u32()));
        assert_eq!(RandomState::new(3).interval(usize::MAX) as u64, high << 32 | low);
    }
}
