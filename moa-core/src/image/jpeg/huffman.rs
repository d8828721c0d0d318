//! Huffman tables.

use super::{Fault, bits::Bits};

/// Codes up to this length are found by one table look-up.
const FAST: u32 = 9;

/// A decoding table.
pub(super) struct Table {
    /// For each `FAST` leading bits `length << 8 | symbol`, 0 for longer codes.
    fast: [u16; 1 << FAST],
    /// By length: one more than the largest code, shifted up to 16 bits.
    limit: [u32; 17],
    /// By length: what to add to a code to get the place of its symbol.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// From the number of codes of each length 1 to 16 and the symbols in
    /// order of their codes.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, Fault> {
        let mut table = Self {
            fast: [0; 1 << FAST],
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
                    same.for_each(|entry| *entry = (length as u16) << 8 | u16::from(symbol));
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

    /// The next symbol. Leaves at least 16 bits available.
    #[inline(always)]
    pub(super) fn symbol(&self, bits: &mut Bits) -> Result<u8, Fault> {
        bits.refill();
        let entry = self.fast[bits.peek(FAST) as usize];
        if entry != 0 {
            bits.skip(u32::from(entry >> 8));
            return Ok(entry as u8);
        }
        self.long_symbol(bits)
    }

    fn long_symbol(&self, bits: &mut Bits) -> Result<u8, Fault> {
        let ahead = bits.peek(16);
        for length in FAST + 1..=16 {
            if ahead < self.limit[length as usize] {
                bits.skip(length);
                let place = (ahead >> (16 - length)) as i32 + self.offset[length as usize];
                let symbol = usize::try_from(place).ok().and_then(|p| self.symbols.get(p));
                return symbol.copied().ok_or(Fault::Damaged("a Huffman code has no symbol"));
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
        let table = Table::new(&counts, &[7, 8, 9, 10]).unwrap();
        // 0 | 10 | 11000000001 | 0 | padding
        let data = [0b0101_1000, 0b0000_0100, 0, 0, 0, 0, 0, 0];
        let mut bits = Bits::new(&data, 0);
        let got: Vec<u8> = (0..4).map(|_| table.symbol(&mut bits).unwrap()).collect();
        assert_eq!(got, [7, 8, 10, 7]);
    }

    #[test]
    fn too_many_codes() {
        let mut counts = [0u8; 16];
        counts[0] = 3;
        assert!(Table::new(&counts, &[1, 2, 3]).is_err());
    }
}
