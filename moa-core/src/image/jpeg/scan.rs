//! One scan: which components it holds, and its units.

use super::{
    Fault,
    bits::Bits,
    coder::Coder,
    header::{Frame, Tables},
    picture::{Picture, Plane},
    progressive,
};
use moa_kernels::vectorise;

/// A component in a scan.
pub(super) struct Part {
    /// Place in the frame header.
    pub(super) component: usize,
    dc: usize,
    ac: usize,
}

/// The scan header.
pub(super) struct Scan {
    pub(super) parts: Vec<Part>,
    /// Progressive: first and last coefficient (zigzag) and the bit positions.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) high: u32,
    pub(super) low: u32,
}

impl Scan {
    pub(super) fn parse(data: &[u8], frame: &Frame) -> Result<Self, Fault> {
        let bad = Fault::Damaged("a scan header makes no sense");
        let Some((&count, rest)) = data.split_first() else { return Err(bad) };
        let count = usize::from(count);
        let Some((entries, &[start, end, bit, ..])) = rest.split_at_checked(count * 2) else {
            return Err(bad);
        };
        let mut parts: Vec<Part> = Vec::new();
        for entry in entries.chunks_exact(2) {
            let Some(component) = frame.components.iter().position(|c| c.id == entry[0]) else {
                return Err(bad);
            };
            if parts.iter().any(|part| part.component == component) {
                return Err(bad);
            }
            let (dc, ac) = (usize::from(entry[1] >> 4), usize::from(entry[1] & 15));
            parts.push(Part { component, dc, ac });
        }
        let (start, end) = (usize::from(start), usize::from(end));
        let (high, low) = (u32::from(bit >> 4), u32::from(bit & 15));
        let order = if start == 0 { end == 0 } else { end >= start && end < 64 && count == 1 };
        let bits = low <= 13 && (high == 0 || high == low + 1);
        if count == 0 || (frame.progressive && !(order && bits)) {
            return Err(bad);
        }
        Ok(Self { parts, start, end, high, low })
    }
}

/// Reads a scan into `picture` and returns where it ends.
pub(super) fn read(
    scan: &Scan,
    picture: &mut Picture,
    tables: &Tables,
    data: &[u8],
    position: usize,
) -> Result<usize, Fault> {
    vectorise!(units(scan, picture, tables, data, position))
}

/// [`read`], unit by unit.
#[inline(always)]
fn units(
    scan: &Scan,
    picture: &mut Picture,
    tables: &Tables,
    data: &[u8],
    position: usize,
) -> Result<usize, Fault> {
    let mut bits = Bits::new(data, position);
    let coder = |part: &Part| {
        let dc = tables.dc.get(part.dc).and_then(Option::as_ref);
        Coder::new(dc, tables.ac.get(part.ac).and_then(Option::as_ref))
    };
    let mut coders: Vec<Coder> = scan.parts.iter().map(coder).collect();
    let Picture { frame, planes } = picture;
    // A lone component comes block by block, without fill-up blocks.
    let alone = match scan.parts.as_slice() {
        [part] => planes.get(part.component).map(|p| (p.width.div_ceil(8), p.height.div_ceil(8))),
        _ => None,
    };
    let (units_x, units_y) = alone
        .unwrap_or((frame.width.div_ceil(8 * frame.h_max), frame.height.div_ceil(8 * frame.v_max)));
    let mut run = 0;
    for unit in 0..units_x * units_y {
        if tables.restart_interval > 0 && unit > 0 && unit % tables.restart_interval == 0 {
            bits.restart(((unit / tables.restart_interval - 1) % 8) as u8)?;
            coders.iter_mut().for_each(Coder::restart);
            run = 0;
        }
        let (unit_x, unit_y) = (unit % units_x, unit / units_x);
        for (part, coder) in scan.parts.iter().zip(&mut coders) {
            let Some(component) = frame.components.get(part.component) else { continue };
            let Some(plane) = planes.get_mut(part.component) else { continue };
            let (h, v) = if alone.is_some() { (1, 1) } else { (component.h, component.v) };
            for at in 0..h * v {
                let (x, y) = (unit_x * h + at % h, unit_y * v + at / h);
                if frame.progressive {
                    let block = progressive_block(plane, x, y)?;
                    progressive::block(scan, coder, &mut run, &mut bits, block)?;
                } else {
                    let mut block = [0; 64];
                    let flat = coder.block(&mut bits, &mut block)?;
                    plane.put_block(x, y, &block, flat);
                }
            }
        }
        bits.check()?;
    }
    Ok(bits.position())
}

fn progressive_block(plane: &mut Plane, x: usize, y: usize) -> Result<&mut [i16; 64], Fault> {
    let at = y * plane.blocks_x + x;
    plane.coefficients.get_mut(at).ok_or(Fault::Damaged("a scan has too many blocks"))
}
