//! The samples of a picture while its scans are read.

use super::{
    Fault,
    header::{Frame, Tables},
    idct,
    scan::Scan,
};

/// The samples of one component.
pub(super) struct Plane {
    /// Samples, `stride` per row, whole blocks.
    pub(super) samples: Vec<u8>,
    pub(super) stride: usize,
    /// Size of the part that belongs to the picture.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks per row, including those that only fill up the last
    /// interleaved unit.
    pub(super) blocks_x: usize,
    /// Progressive: all coefficients, 64 per block in natural order.
    pub(super) coefficients: Vec<[i16; 64]>,
    /// Set by the first scan with this component, as later scans may
    /// redefine the table.
    pub(super) steps: Option<[u16; 64]>,
}

/// Frame header and one plane per component.
pub(super) struct Picture {
    pub(super) frame: Frame,
    pub(super) planes: Vec<Plane>,
}

impl Picture {
    pub(super) fn new(frame: Frame) -> Result<Self, Fault> {
        let units_x = frame.width.div_ceil(8 * frame.h_max);
        let units_y = frame.height.div_ceil(8 * frame.v_max);
        let planes = frame.components.iter().map(|component| {
            let blocks_x = units_x * component.h;
            let blocks = blocks_x * units_y * component.v;
            Plane {
                samples: vec![0; blocks * 64],
                stride: blocks_x * 8,
                width: (frame.width * component.h).div_ceil(frame.h_max),
                height: (frame.height * component.v).div_ceil(frame.v_max),
                blocks_x,
                coefficients: vec![[0; 64]; if frame.progressive { blocks } else { 0 }],
                steps: None,
            }
        });
        let planes = planes.collect();
        Ok(Self { frame, planes })
    }

    /// Fixes the quantisation of components that occur for the first time.
    pub(super) fn latch_quantisation(&mut self, scan: &Scan, t: &Tables) -> Result<(), Fault> {
        for part in &scan.parts {
            let plane = self.planes.get_mut(part.component);
            let component = self.frame.components.get(part.component);
            if let (Some(plane), Some(component)) = (plane, component)
                && plane.steps.is_none()
            {
                let steps = t.quantisation.get(component.quantisation).copied().flatten();
                plane.steps = Some(steps.ok_or(Fault::Damaged("a quantisation table is missing"))?);
            }
        }
        Ok(())
    }

    /// Whether every component occurred in a scan.
    pub(super) fn is_complete(&self) -> bool {
        self.planes.iter().all(|plane| plane.steps.is_some())
    }

    /// Progressive: coefficients to samples, after the last scan.
    pub(super) fn transform_coefficients(&mut self) {
        for plane in &mut self.planes {
            for (at, block) in std::mem::take(&mut plane.coefficients).iter().enumerate() {
                let flat = block[1..].iter().all(|&c| c == 0);
                plane.put_block(at % plane.blocks_x, at / plane.blocks_x, block, flat);
            }
        }
    }
}

impl Plane {
    /// Writes the samples of one block; `flat` if only its first coefficient
    /// is not zero.
    #[inline(always)]
    pub(super) fn put_block(&mut self, x: usize, y: usize, block: &[i16; 64], flat: bool) {
        let Some(steps) = &self.steps else { return };
        let Some(out) = self.samples.get_mut(y * 8 * self.stride + x * 8..) else { return };
        if flat {
            idct::inverse_flat(block[0], steps[0], out, self.stride);
        } else {
            idct::inverse(block, steps, out, self.stride);
        }
    }

    /// Row `y` of the picture's part; rows outside repeat the first or last.
    #[inline]
    pub(super) fn row(&self, y: usize) -> &[u8] {
        let start = y.min(self.height.saturating_sub(1)) * self.stride;
        self.samples.get(start..start + self.width).unwrap_or_default()
    }
}
