//! A colour for each expert.

/// Okabe and Ito's colours, which people of all kinds of colour vision tell apart.
const COLOURS: [[u8; 3]; 8] = [
    [0x00, 0x72, 0xb2],
    [0xe6, 0x9f, 0x00],
    [0x00, 0x9e, 0x73],
    [0xd5, 0x5e, 0x00],
    [0xcc, 0x79, 0xa7],
    [0x56, 0xb4, 0xe9],
    [0xf0, 0xe4, 0x42],
    [0x55, 0x55, 0x55],
];

/// The colour of an expert or of any other series; from the ninth on lighter ones, and then
/// again from the first.
pub fn colour(index: usize) -> [u8; 3] {
    let [base, round] = [COLOURS[index % COLOURS.len()], [(index / COLOURS.len() % 3) as u8; 3]];
    let lighter = |(c, round): (u8, u8)| c + ((255 - c) / 3) * round;
    [0, 1, 2].map(|i| lighter((base[i], round[i])))
}

/// The same as `#rrggbb`.
pub fn hex(index: usize) -> String {
    let [r, g, b] = colour(index);
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_differ() {
        let all: std::collections::BTreeSet<_> = (0..24).map(colour).collect();
        assert_eq!(all.len(), 24);
        assert_eq!(hex(1), "#e69f00");
    }
}
