//! Bytes turned and zipped in registers.

/// First bytes, second bytes and so on of both, one after the other.
#[inline(always)]
pub(super) fn zip(a: &[u8; 16], b: &[u8; 16]) -> [[u8; 16]; 2] {
    let mut out = [[0; 16]; 2];
    for i in 0..8 {
        out[0][2 * i] = a[i];
        out[0][2 * i + 1] = b[i];
    }
    for i in 0..8 {
        out[1][2 * i] = a[8 + i];
        out[1][2 * i + 1] = b[8 + i];
    }
    out
}

/// Zips the first half of all bytes with the second: their places, as binary
/// numbers, turn left by one digit.
#[inline(always)]
fn turn<const N: usize>(all: &[[u8; 16]; N]) -> [[u8; 16]; N] {
    let mut next = [[0; 16]; N];
    for i in 0..N / 2 {
        [next[2 * i], next[2 * i + 1]] = zip(&all[i], &all[i + N / 2]);
    }
    next
}

/// Swaps rows and columns of 16 x 16 bytes.
#[inline(always)]
pub(super) fn transpose16(rows: &[[u8; 16]; 16]) -> [[u8; 16]; 16] {
    turn(&turn(&turn(&turn(rows))))
}

/// Swaps rows and columns of 8 x 8 bytes.
#[inline(always)]
pub(super) fn transpose8(rows: &[[u8; 16]; 4]) -> [[u8; 16]; 4] {
    turn(&turn(&turn(rows)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        let rows = std::array::from_fn(|i| std::array::from_fn(|j| (16 * i + j) as u8));
        let turned = transpose16(&rows);
        let small: [[u8; 16]; 4] = [rows[0], rows[1], rows[2], rows[3]];
        let small_turned = transpose8(&small);
        for i in 0..16 {
            for j in 0..16 {
                assert_eq!(turned[i][j], rows[j][i]);
            }
        }
        for i in 0..8 {
            for j in 0..8 {
                let at = |i: usize, j: usize| (i / 2, i % 2 * 8 + j);
                let ((a, b), (c, d)) = (at(i, j), at(j, i));
                assert_eq!(small_turned[a][b], small[c][d]);
            }
        }
    }
}
