//! Markers and header segments.

use super::{Fault, huffman::Table};

const SHORT: Fault = Fault::Damaged("a header segment is too short");

/// Natural (row by row) place of each coefficient in zigzag order.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Walks over the markers of a file.
pub(super) struct Markers<'a> {
    data: &'a [u8],
    pub(super) position: usize,
}

impl<'a> Markers<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    /// The next marker; bytes between segments are skipped, as libjpeg does.
    pub(super) fn next_marker(&mut self) -> Option<u8> {
        let rest = self.data.get(self.position..)?;
        let at =
            rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF))?;
        self.position += at + 2;
        rest.get(at + 1).copied()
    }

    /// The contents of the segment after a marker.
    pub(super) fn segment(&mut self) -> Result<&'a [u8], Fault> {
        let rest = self.data.get(self.position..).unwrap_or_default();
        let &[high, low, ..] = rest else { return Err(Fault::Truncated) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return Err(SHORT);
        }
        let segment = rest.get(2..length).ok_or(Fault::Truncated)?;
        self.position += length;
        Ok(segment)
    }
}

/// One colour component of the frame.
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors, 1 to 4.
    pub(super) h: usize,
    pub(super) v: usize,
    /// Number of the quantisation table, 0 to 3.
    pub(super) quantisation: usize,
}

/// The frame header.
pub(super) struct Frame {
    pub(super) progressive: bool,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: Vec<Component>,
    /// Largest sampling factors.
    pub(super) h_max: usize,
    pub(super) v_max: usize,
}

impl Frame {
    pub(super) fn parse(data: &[u8], progressive: bool, limit: usize) -> Result<Self, Fault> {
        let &[precision, y1, y0, x1, x0, count, ref rest @ ..] = data else { return Err(SHORT) };
        if precision != 8 {
            return Err(Fault::Unsupported("JPEG with other than 8-bit samples"));
        }
        let height = usize::from(u16::from_be_bytes([y1, y0]));
        let width = usize::from(u16::from_be_bytes([x1, x0]));
        if width == 0 || height == 0 {
            return Err(Fault::Damaged("its width or height is 0"));
        }
        if width * height > limit {
            return Err(Fault::TooLarge(width, height));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(Fault::Unsupported("JPEG with other than 1, 3 or 4 components"));
        }
        let mut components = Vec::new();
        for entry in rest.chunks_exact(3).take(count.into()) {
            let (h, v) = (usize::from(entry[1] >> 4), usize::from(entry[1] & 15));
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) || entry[2] > 3 {
                return Err(Fault::Damaged("a component has impossible settings"));
            }
            components.push(Component { id: entry[0], h, v, quantisation: entry[2].into() });
        }
        if components.len() < usize::from(count) {
            return Err(SHORT);
        }
        let h_max = components.iter().map(|c| c.h).max().unwrap_or(1);
        let v_max = components.iter().map(|c| c.v).max().unwrap_or(1);
        if components.iter().any(|c| h_max % c.h != 0 || v_max % c.v != 0) {
            return Err(Fault::Unsupported("JPEG with fractional chroma sampling"));
        }
        Ok(Self { progressive, width, height, components, h_max, v_max })
    }
}

/// Everything that segments define for later scans.
#[derive(Default)]
pub(super) struct Tables {
    /// Quantisation steps in natural order.
    pub(super) quantisation: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<Table>; 4],
    pub(super) ac: [Option<Table>; 4],
    /// Units between restart markers; 0 for none.
    pub(super) restart_interval: usize,
    pub(super) jfif: bool,
    /// Colour transform number of the Adobe marker.
    pub(super) adobe: Option<u8>,
}

impl Tables {
    pub(super) fn read_huffman(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        while let Some((&kind, rest)) = data.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            let total = counts.iter().map(|&n| usize::from(n)).sum();
            let symbols = rest.get(..total).ok_or(SHORT)?;
            let first = kind & 0x10 == 0;
            let table = Table::new(counts, symbols, !first)?;
            let set = if first { &mut self.dc } else { &mut self.ac };
            let slot = set.get_mut(usize::from(kind & !0x10));
            *slot.ok_or(Fault::Damaged("a Huffman table has an impossible number"))? = Some(table);
            data = rest.get(total..).unwrap_or_default();
        }
        Ok(())
    }

    pub(super) fn read_quantisation(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        while let Some((&kind, rest)) = data.split_first() {
            let bytes = if kind >> 4 == 0 { 1 } else { 2 };
            let values = rest.get(..64 * bytes).ok_or(SHORT)?;
            let mut steps = [0; 64];
            for (value, &place) in values.chunks_exact(bytes).zip(&ZIGZAG) {
                let step = value.iter().fold(0, |sum, &byte| sum << 8 | u16::from(byte));
                steps[usize::from(place & 63)] = step;
            }
            let slot = self.quantisation.get_mut(usize::from(kind & 15));
            *slot.ok_or(Fault::Damaged("a quantisation table has an impossible number"))? =
                Some(steps);
            data = rest.get(64 * bytes..).unwrap_or_default();
        }
        Ok(())
    }

    pub(super) fn read_restart_interval(&mut self, data: &[u8]) -> Result<(), Fault> {
        let &[high, low, ..] = data else { return Err(SHORT) };
        self.restart_interval = usize::from(u16::from_be_bytes([high, low]));
        Ok(())
    }

    pub(super) fn read_jfif(&mut self, data: &[u8]) {
        self.jfif |= data.len() >= 12 && data.starts_with(b"JFIF\0");
    }

    pub(super) fn read_adobe(&mut self, data: &[u8]) {
        if data.starts_with(b"Adobe")
            && let Some(&transform) = data.get(11)
        {
            self.adobe = Some(transform);
        }
    }
}
