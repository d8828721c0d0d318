//! Files written by Pillow and the pixels it reads back. Many more are in the
//! golden tests.

use super::{Fault, decode};

/// 11 x 7 pixels, 4:2:0.
const BASELINE: &str = "\
    ffd8ffe000104a46494600010100000100010000ffdb0043000d090a0b0a080d0b0a0b0e0e0d0f1320151312\
    1213271c1e17202e2931302e292d2c333a4a3e333646372c2d405741464c4e525352323e5a615a50604a5152\
    4fffdb0043010e0e0e131113261515264f352d354f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f\
    4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4fffc00011080007000b030122000211010311\
    01ffc400160001010100000000000000000000000000000205ffc4001a100100020301000000000000000000\
    000001000502112261ffc40014010100000000000000000000000000000004ffc4001c110002020203000000\
    00000000000000000103020400053141a1ffda000c03010002110311003f009afb9e4cb259b05d68074788b1\
    10562b256a12111d7a0e375945261c67ffd9";

/// The same, progressive, 4:2:2.
const PROGRESSIVE: &str = "\
    ffd8ffe000104a46494600010100000100010000ffdb0043000d090a0b0a080d0b0a0b0e0e0d0f1320151312\
    1213271c1e17202e2931302e292d2c333a4a3e333646372c2d405741464c4e525352323e5a615a50604a5152\
    4fffdb0043010e0e0e131113261515264f352d354f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f\
    4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4fffc20011080007000b030121000211010311\
    01ffc4001500010100000000000000000000000000000104ffc4001501010100000000000000000000000000\
    000104ffda000c030100021003100000012c95ffc400161001010100000000000000000000000000000313ff\
    da00080101000105029d9b3fffc400161101010100000000000000000000000000040021ffda000801030101\
    3f0131f2ffc4001811000203000000000000000000000000000002010411ffda0008010201013f016ae90ba7\
    ffc40014100100000000000000000000000000000010ffda0008010100063f023fffc4001710000301000000\
    0000000000000000000001101121ffda0008010100013f21c295ffda000c030100020003000000100fffc400\
    14110100000000000000000000000000000000ffda0008010301013f107fffc4001a11010001050000000000\
    0000000000000001001121415161ffda0008010201013f101482bb7b8b4fffc4001810010003010000000000\
    000000000000000100112161ffda0008010100013f10c48c2803471167ffd9";

const LIMIT: usize = 1000;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).map_or(0, |d| d as u8);
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// The checksum of `zlib.adler32`.
fn checksum(data: &[u8]) -> u32 {
    let step = |(a, b), &v| {
        let a = (a + u32::from(v)) % 65521;
        (a, (b + a) % 65521)
    };
    let (a, b) = data.iter().fold((1, 0), step);
    b << 16 | a
}

#[test]
fn pixels_are_those_of_pillow() {
    for (hex, sum) in [(BASELINE, 0xa9536d7a), (PROGRESSIVE, 0x46526e24)] {
        let image = decode(&bytes(hex), LIMIT).unwrap();
        assert_eq!((image.width, image.height), (11, 7));
        assert_eq!(checksum(&image.data), sum);
    }
}

#[test]
fn every_shorter_file_is_truncated() {
    for whole in [BASELINE, PROGRESSIVE].map(bytes) {
        for end in 2..whole.len() {
            assert_eq!(decode(&whole[..end], LIMIT), Err(Fault::Truncated), "{end}");
        }
    }
}

#[test]
fn no_byte_leads_to_a_panic() {
    for whole in [BASELINE, PROGRESSIVE].map(bytes) {
        for at in 0..whole.len() {
            for value in [0, 1, 0x7F, 0xFF, whole[at] ^ 0x10] {
                let mut other = whole.clone();
                other[at] = value;
                let _ = decode(&other, LIMIT);
            }
        }
    }
}

#[test]
fn data_after_the_end_does_not_matter() {
    let mut file = bytes(BASELINE);
    let clean = decode(&file, LIMIT);
    file.extend(b"\xFF\xD8 more");
    assert_eq!(decode(&file, LIMIT), clean);
}

#[test]
fn the_limit_counts_pixels() {
    assert_eq!(decode(&bytes(BASELINE), 76), Err(Fault::TooLarge(11, 7)));
}
