//! Hashes as text.

use sha2::digest::Update;
use std::io::{self, Read};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// Lower-case hexadecimal digits.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything up to the end of `from` into `hasher`.
///
/// # Errors
/// If it cannot be read.
pub fn absorb<D: Update>(mut hasher: D, mut from: impl Read) -> io::Result<D> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(hasher),
            count => hasher.update(chunk.get(..count).unwrap_or_default()),
        }
    }
}
