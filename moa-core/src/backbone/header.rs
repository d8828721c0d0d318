//! The header of a safetensors file.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata};

use super::error::{BackboneError, Result};

/// Bytes in front of the header: its length.
const LENGTH: u64 = 8;
/// The largest header that the safetensors library accepts.
const MAX_HEADER: u64 = 100_000_000;

/// Type, shape, first byte in the file, and number of bytes of every tensor.
pub(super) type Header = BTreeMap<String, (Dtype, Vec<usize>, u64, usize)>;

/// Reads and checks the header of a file of `length` bytes.
pub(super) fn read_header(path: &Path, reader: &mut dyn Read, length: u64) -> Result<Header> {
    let fail = |reason: String| Err(BackboneError::damaged(path, reason));
    let mut prefix = [0; LENGTH as usize];
    if length < LENGTH {
        return fail(format!("only {length} bytes, not a safetensors file; fetch it again"));
    }
    reader.read_exact(&mut prefix).map_err(BackboneError::io(path))?;
    if &prefix == b"version " {
        return fail(
            "a Git LFS pointer, not the weights; run `git lfs pull` in its repository".into(),
        );
    }
    let size = u64::from_le_bytes(prefix);
    if size > MAX_HEADER || size > length - LENGTH {
        return fail(format!(
            "no safetensors header (it would be {size} bytes long); fetch it again"
        ));
    }
    let mut text = vec![0; size as usize];
    reader.read_exact(&mut text).map_err(BackboneError::io(path))?;
    let metadata: Metadata = match serde_json::from_slice(&text) {
        Ok(metadata) => metadata,
        Err(error) => return fail(format!("damaged safetensors header ({error}); fetch it again")),
    };
    let wanted = LENGTH + size + metadata.data_len() as u64;
    if wanted != length {
        let what = if wanted > length { "cut off" } else { "too long" };
        return fail(format!(
            "{what}: {length} bytes, but its header announces {wanted}; fetch it again"
        ));
    }
    let place = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (start, end) = info.data_offsets;
        let entry = (info.dtype, info.shape.clone(), LENGTH + size + start as u64, end - start);
        (name, entry)
    };
    Ok(metadata.tensors().into_iter().map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> std::result::Result<Header, String> {
        let result = read_header(Path::new("f"), &mut &bytes[..], bytes.len() as u64);
        result.map_err(|error| error.to_string())
    }

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    #[test]
    fn good_headers() {
        let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[2,10]},
                         "a":{"dtype":"F16","shape":[],"data_offsets":[0,2]}}  "#;
        let found = read(&file(header, 10)).unwrap();
        let start = 8 + header.len() as u64;
        assert_eq!(found["a"], (Dtype::F16, vec![], start, 2));
        assert_eq!(found["b"], (Dtype::F32, vec![2], start + 2, 8));
    }

    #[test]
    fn bad_headers() {
        let one = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let lie = r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#;
        let gap = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
        let huge = r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#;
        for (bytes, says) in [
            (vec![], "only 0 bytes"),
            (b"version https://git-lfs".to_vec(), "Git LFS pointer"),
            (vec![255; 64], "no safetensors header"),
            (file(one, 7), "cut off: 69 bytes, but its header announces 70"),
            (file(one, 9), "too long"),
            (file(lie, 8), "damaged safetensors header"),
            (file(gap, 8), "damaged safetensors header"),
            (file(huge, 8), "damaged safetensors header"),
            (file("[]", 0), "damaged safetensors header"),
            (file("{", 0), "damaged safetensors header"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(says) && error.starts_with("f: "), "{error}");
        }
    }
}
