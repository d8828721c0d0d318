//! What Huffman tables tell at a glance.

/// Codes up to this length are found by one table look-up.
pub(super) const FAST: u32 = 10;

/// What [`FAST`] leading bits say; all zero for longer codes.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry(u32);

impl Entry {
    fn new(symbol: u8, length: u32, value: i32) -> Self {
        Self((value as u32) << 16 | u32::from(symbol) << 8 | length)
    }

    /// The coefficient, if code and value lie within the leading bits. 0 if not.
    #[inline(always)]
    pub(super) fn value(self) -> i16 {
        (self.0 >> 16) as i16
    }

    /// The zeros before the value.
    #[inline(always)]
    pub(super) fn run(self) -> usize {
        (self.0 >> 12 & 15) as usize
    }

    /// What the code stands for.
    #[inline(always)]
    pub(super) fn symbol(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// How many bits the code alone takes.
    #[inline(always)]
    pub(super) fn code_length(self) -> u32 {
        let value = if self.value() == 0 { 0 } else { self.0 >> 8 & 15 };
        self.length() - value
    }

    /// How many bits the code takes, and the value if there is one.
    #[inline(always)]
    pub(super) fn length(self) -> u32 {
        self.0 & 255
    }
}

/// Entries of all leading bits that start with one code of `length` bits.
pub(super) fn fill<'e>(
    same: impl Iterator<Item = &'e mut Entry>,
    symbol: u8,
    length: u32,
    values: bool,
) {
    let size = u32::from(symbol & 15);
    let left = FAST - length;
    let inside = values && (1..=left).contains(&size);
    for (rest, entry) in same.enumerate() {
        *entry = if inside {
            let value = (rest as u32 >> (left - size)) as i32;
            let negative = value < 1 << (size - 1);
            let value = if negative { value - (1 << size) + 1 } else { value };
            Entry::new(symbol, length + size, value)
        } else {
            Entry::new(symbol, length, 0)
        };
    }
}
