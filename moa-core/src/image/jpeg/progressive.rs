//! Progressive coding: a scan refines some coefficients of every block.

use super::{Fault, bits::Bits, coder::Coder, header::ZIGZAG, scan::Scan};

/// Reads what `scan` says about one block. `run` is the number of further
/// blocks known to have nothing left in this scan.
pub(super) fn block(
    scan: &Scan,
    coder: &mut Coder,
    run: &mut u32,
    bits: &mut Bits,
    block: &mut [i16; 64],
) -> Result<(), Fault> {
    match (scan.start, scan.high) {
        (0, 0) => {
            block[0] = (coder.first(bits)? << scan.low) as i16;
            Ok(())
        }
        (0, _) => {
            block[0] |= (bits.take(1) << scan.low) as i16;
            Ok(())
        }
        (_, 0) => first_bits(scan, coder, run, bits, block),
        _ => refine(scan, coder, run, bits, block),
    }
}

/// A symbol split into the zeros it skips and the length of its value. A
/// length of 0 starts a run of finished blocks, except after 15 zeros.
fn symbol(coder: &Coder, run: &mut u32, bits: &mut Bits) -> Result<(usize, u32), Fault> {
    let table = coder.ac.ok_or(Fault::Damaged("a Huffman table is missing"))?;
    let symbol = table.symbol(bits)?;
    let (zeros, length) = (u32::from(symbol >> 4), u32::from(symbol & 15));
    if length == 0 && zeros < 15 {
        *run = (1 << zeros) + bits.take(zeros);
    }
    Ok((zeros as usize, length))
}

fn first_bits(
    scan: &Scan,
    coder: &Coder,
    run: &mut u32,
    bits: &mut Bits,
    block: &mut [i16; 64],
) -> Result<(), Fault> {
    let mut k = scan.start;
    while *run == 0 && k <= scan.end {
        let (zeros, length) = symbol(coder, run, bits)?;
        if *run > 0 {
            break;
        }
        k += zeros;
        if length > 0 {
            let place = ZIGZAG.get(k).ok_or(Fault::Damaged("a block has too many values"))?;
            bits.refill();
            block[usize::from(place & 63)] = (bits.signed(length) << scan.low) as i16;
        }
        k += 1;
    }
    *run = run.saturating_sub(1);
    Ok(())
}

/// One more bit for coefficients that are not zero, and new ones of value 1.
fn refine(
    scan: &Scan,
    coder: &Coder,
    run: &mut u32,
    bits: &mut Bits,
    block: &mut [i16; 64],
) -> Result<(), Fault> {
    let step = 1i16 << scan.low;
    let mut k = scan.start;
    while *run == 0 && k <= scan.end {
        let (zeros, length) = symbol(coder, run, bits)?;
        if *run > 0 {
            break;
        }
        let fresh = (length > 0).then(|| if bits.take(1) == 1 { step } else { -step });
        k = refine_until(scan, bits, block, k, Some(zeros));
        if let (Some(fresh), Some(place)) = (fresh, ZIGZAG.get(k)) {
            block[usize::from(place & 63)] = fresh;
        }
        k += 1;
    }
    if *run > 0 {
        refine_until(scan, bits, block, k, None);
        *run -= 1;
    }
    Ok(())
}

/// Refines from `k` on and stops at the zero after `zeros` others, if given.
fn refine_until(
    scan: &Scan,
    bits: &mut Bits,
    block: &mut [i16; 64],
    mut k: usize,
    mut zeros: Option<usize>,
) -> usize {
    let step = 1i16 << scan.low;
    while let Some(place) = ZIGZAG.get(k).filter(|_| k <= scan.end) {
        let value = &mut block[usize::from(place & 63)];
        if *value == 0 {
            zeros = match zeros {
                Some(0) => return k,
                left => left.map(|n| n - 1),
            };
        } else if bits.take(1) == 1 && *value & step == 0 {
            *value = value.wrapping_add(if *value < 0 { -step } else { step });
        }
        k += 1;
    }
    k
}
