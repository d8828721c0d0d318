//! Reading entropy-coded bits, up to the next marker.

use super::Fault;

/// A bit reader. Behind the data (a marker or the end of the file) it gives
/// zeros; [`Bits::check`] tells whether any of them were taken.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    position: usize,
    /// The next bits, first bit highest; below `count` bits it is zero.
    window: u64,
    count: u32,
    /// How many of the `count` bits are made up. They are the last ones.
    padding: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], position: usize) -> Self {
        Self { data, position, window: 0, count: 0, padding: 0 }
    }

    /// Makes at least 32 bits available: a Huffman code and its extra bits.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if self.count < 32 {
            if let Some(&bytes) = self.data.get(self.position..).and_then(<[u8]>::first_chunk::<4>)
            {
                let word = u32::from_be_bytes(bytes);
                // Without a 0xFF byte there is neither a marker nor stuffing.
                let inverse = !word;
                if inverse.wrapping_sub(0x0101_0101) & word & 0x8080_8080 == 0 {
                    self.window |= u64::from(word) << (32 - self.count);
                    self.count += 32;
                    self.position += 4;
                    return;
                }
            }
            *self = self.filled();
        }
    }

    /// By value, so that the reader of a loop can stay in registers.
    #[cold]
    #[inline(never)]
    fn filled(mut self) -> Self {
        while self.count <= 56 {
            match self.byte() {
                Some(byte) => self.window |= u64::from(byte) << (56 - self.count),
                None => self.padding += 8,
            }
            self.count += 8;
        }
        self
    }

    /// The next data byte, `None` at a marker: `FF 00` stands for `FF`.
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.data.get(self.position)?;
        if byte != 0xFF {
            self.position += 1;
            return Some(byte);
        }
        let mut after = self.position + 1;
        while self.data.get(after) == Some(&0xFF) {
            after += 1;
        }
        (self.data.get(after) == Some(&0)).then(|| {
            self.position = after + 1;
            0xFF
        })
    }

    /// The next `n` bits (at most 16) without taking them.
    #[inline(always)]
    pub(super) fn peek(&self, n: u32) -> u32 {
        ((self.window >> 1) >> (63 - n)) as u32
    }

    /// Drops `n` bits, which a refill must have made available.
    #[inline(always)]
    pub(super) fn skip(&mut self, n: u32) {
        self.window <<= n;
        self.count = self.count.saturating_sub(n);
    }

    /// The next `n` bits (at most 16).
    #[inline(always)]
    pub(super) fn take(&mut self, n: u32) -> u32 {
        self.refill();
        let value = self.peek(n);
        self.skip(n);
        value
    }

    /// A signed value of `n` bits (at most 15; the `EXTEND` of the standard), which
    /// a refill must have made available.
    #[inline(always)]
    pub(super) fn signed(&mut self, n: u32) -> i32 {
        let value = self.peek(n) as i32;
        let positive = (self.window as i64 >> 63) as i32;
        self.skip(n);
        value + (!positive & ((-1 << n) + 1))
    }

    /// An error once made-up bits were taken.
    #[inline(always)]
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.count >= self.padding {
            return Ok(());
        }
        Err(match self.data.get(self.position..) {
            Some([_, _, ..]) => Fault::Damaged("a scan ends too early"),
            _ => Fault::Truncated,
        })
    }

    /// Goes behind restart marker number `number`, which must come next.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), Fault> {
        let rest = self.data.get(self.position..).unwrap_or_default();
        let at = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF));
        let Some(at) = at else { return Err(Fault::Truncated) };
        if rest.get(at + 1) != Some(&(0xD0 + number)) {
            return Err(Fault::Damaged("a restart marker is missing"));
        }
        *self = Self::new(self.data, self.position + at + 2);
        Ok(())
    }

    /// Where to look for the marker after the scan.
    pub(super) fn position(&self) -> usize {
        self.position
    }
}
