//! Sequential coding of blocks.

use super::{Fault, bits::Bits, header::ZIGZAG, huffman::Table};

/// What the coding of a block needs besides the bits.
pub(super) struct Coder<'t> {
    dc: Option<&'t Table>,
    pub(super) ac: Option<&'t Table>,
    /// The previous block's first coefficient.
    prediction: i32,
}

const NO_TABLE: Fault = Fault::Damaged("a Huffman table is missing");

impl<'t> Coder<'t> {
    pub(super) fn new(dc: Option<&'t Table>, ac: Option<&'t Table>) -> Self {
        Self { dc, ac, prediction: 0 }
    }

    /// Forgets the previous block.
    pub(super) fn restart(&mut self) {
        self.prediction = 0;
    }

    /// The first coefficient: its difference to the previous block's.
    #[inline(always)]
    pub(super) fn first(&mut self, bits: &mut Bits) -> Result<i32, Fault> {
        let length = self.dc.ok_or(NO_TABLE)?.symbol(bits)?;
        if length > 15 {
            return Err(Fault::Damaged("a coefficient is out of range"));
        }
        self.prediction = self.prediction.wrapping_add(bits.signed(length.into()));
        Ok(self.prediction)
    }

    /// A whole block of a sequential file; true if it is flat.
    #[inline(always)]
    pub(super) fn block(
        &mut self,
        reader: &mut Bits,
        block: &mut [i16; 64],
    ) -> Result<bool, Fault> {
        const FULL: Fault = Fault::Damaged("a block has too many values");
        // A copy can stay in registers.
        let mut bits = *reader;
        block[0] = self.first(&mut bits)? as i16;
        let ac = self.ac.ok_or(NO_TABLE)?;
        let (mut k, mut flat) = (1, true);
        while k < 64 {
            bits.refill();
            let entry = ac.glance(&bits);
            let (run, value) = if entry.value() != 0 {
                bits.skip(entry.length());
                (entry.run(), entry.value())
            } else {
                let symbol = ac.symbol(&mut bits)?;
                let (run, length) = (usize::from(symbol >> 4), u32::from(symbol & 15));
                if length == 0 {
                    if run == 15 {
                        k += 16;
                        continue;
                    }
                    break;
                }
                (run, bits.signed(length) as i16)
            };
            k += run;
            let place = ZIGZAG.get(k).ok_or(FULL)?;
            block[usize::from(place & 63)] = value;
            flat = false;
            k += 1;
        }
        *reader = bits;
        Ok(flat)
    }
}
