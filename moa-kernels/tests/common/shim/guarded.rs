//! Copies of memory with margins that nothing should be written to.

/// Bytes of a margin.
const MARGIN: usize = 4096;
/// Addresses that a device gives out are multiples of this.
const ALIGNED: usize = 256;

pub struct Guarded {
    all: Vec<u8>,
    first: usize,
    len: usize,
}

impl Guarded {
    /// What is read from the margins is not a number in any type.
    pub fn new(from: &[u8]) -> Self {
        let mut all = vec![0xFF; from.len() + 2 * MARGIN + ALIGNED];
        let first = MARGIN + all[MARGIN..].as_ptr().align_offset(ALIGNED);
        all[first..][..from.len()].copy_from_slice(from);
        Self { all, first, len: from.len() }
    }

    pub fn start(&mut self) -> *mut u8 {
        self.all[self.first..].as_mut_ptr()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.all[self.first..][..self.len]
    }

    /// True if the margins are as they were.
    pub fn whole(&self) -> bool {
        let (before, rest) = self.all.split_at(self.first);
        before.iter().chain(&rest[self.len..]).all(|&b| b == 0xFF)
    }
}
