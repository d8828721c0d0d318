//! Huffman tables.

use super::{
    Fault,
    bits::Bits,
    entry::{Entry, FAST, fill},
};

/// A decoding table.
pub(super) struct Table {
    fast: [Entry; 1 << FAST],
    /// By length: one more than the largest code, shifted up to 16 bits.
    limit: [u32; 17],
    /// By length: what to add to a code to get the place of its symbol.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// From the number of codes of each length 1 to 16 and the symbols in
    /// order of their codes. With `values`, symbols tell zeros and the length of a value.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8], values: bool) -> Result<Self, Fault> {
        let mut table = Self {
            fast: [Entry::default(); 1 << FAST],
            limit: [0; 17],
            offset: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut place) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(counts) {
            table.offset[length as usize] = place as i32 - code as i32;
            for &symbol in symbols.iter().skip(place).take(count.into()) {
                if length <= FAST {
                    let first = (code << (FAST - length)) as usize;
                    let same = table.fast.iter_mut().skip(first).take(1 << (FAST - length));
                    fill(same, symbol, length, values);
                }
                code += 1;
            }
            if code > 1 << length {
                return Err(Fault::Damaged("a Huffman table has too many codes"));
            }
            place += usize::from(count);
            table.limit[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }

    /// What the next bits mean at a glance, without taking them.
    #[inline(always)]
    pub(super) fn glance(&self, bits: &Bits) -> Entry {
        self.fast[bits.peek(FAST) as usize]
    }

    /// The next symbol. Leaves at least 16 bits available.
    #[inline(always)]
    pub(super) fn symbol(&self, bits: &mut Bits) -> Result<u8, Fault> {
        bits.refill();
        let entry = self.glance(bits);
        if entry.length() != 0 {
            bits.skip(entry.code_length());
            return Ok(entry.symbol());
        }
        let (symbol, length) = self.long_symbol(*bits)?;
        bits.skip(length);
        Ok(symbol)
    }

    /// A symbol with a code of more than [`FAST`] bits, and their number.
    #[cold]
    #[inline(never)]
    fn long_symbol(&self, bits: Bits) -> Result<(u8, u32), Fault> {
        let ahead = bits.peek(16);
        for length in FAST + 1..=16 {
            if ahead < self.limit[length as usize] {
                let place = (ahead >> (16 - length)) as i32 + self.offset[length as usize];
                let symbol = usize::try_from(place).ok().and_then(|p| self.symbols.get(p));
                let symbol = symbol.ok_or(Fault::Damaged("a Huffman code has no symbol"))?;
                return Ok((*symbol, length));
            }
        }
        bits.check()?;
        Err(Fault::Damaged("a Huffman code does not exist"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_codes() {
        let mut counts = [0u8; 16];
        (counts[0], counts[1], counts[10]) = (1, 1, 2);
        let table = Table::new(&counts, &[7, 8, 9, 10], false).unwrap();
        // 0 | 10 | 11000000001 | 0 | padding
        let data = [0b0101_1000, 0b0000_0100, 0, 0, 0, 0, 0, 0];
        let mut bits = Bits::new(&data, 0);
        let got: Vec<u8> = (0..4).map(|_| table.symbol(&mut bits).unwrap()).collect();
        assert_eq!(got, [7, 8, 10, 7]);
    }

    /// Every window of bits, at a glance and step by step.
    #[test]
    fn values_at_a_glance() {
        let mut counts = [0u8; 16];
        (counts[1], counts[2], counts[3], counts[8]) = (1, 2, 3, 2);
        let symbols = [0x01, 0x00, 0x12, 0xF0, 0x35, 0x08, 0x47, 0x21];
        let fast = Table::new(&counts, &symbols, true).unwrap();
        let slow = Table::new(&counts, &symbols, false).unwrap();
        let mut seen = 0;
        for window in 0..1u32 << 16 {
            let data = (window << 16 | 0x5A5A).to_be_bytes();
            let (mut a, mut b) = (Bits::new(&data, 0), Bits::new(&data, 0));
            a.refill();
            let entry = fast.glance(&a);
            let (symbol, again) = (slow.symbol(&mut b), fast.symbol(&mut a));
            assert_eq!(symbol, again);
            assert_eq!(a.peek(9), b.peek(9));
            if entry.value() != 0 {
                let symbol = symbol.unwrap();
                assert_eq!(entry.run(), usize::from(symbol >> 4));
                assert_eq!(i32::from(entry.value()), b.signed(u32::from(symbol & 15)));
                let mut c = Bits::new(&data, 0);
                c.refill();
                c.skip(entry.length());
                assert_eq!(c.peek(9), b.peek(9));
                seen += 1;
            }
        }
        assert!(seen > 0);
    }

    #[test]
    fn too_many_codes() {
        let mut counts = [0u8; 16];
        counts[0] = 3;
        assert!(Table::new(&counts, &[1, 2, 3], false).is_err());
    }
}
