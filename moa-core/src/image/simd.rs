//! Loops compiled for the machine that they run on.

/// Runs a block in which the compiler may use the widest vectors of this machine
/// instead of those that every machine has. Only what is inlined into the block
/// profits. All arithmetic here is on integers: the results are the same anywhere.
macro_rules! vectorise {
    ($body:expr) => {{
        let once = $crate::image::simd::Once;
        // A closure that may be called twice would be called through a shim which is
        // not inlined, hence one that uses something up.
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let _once = once;
                $body
            },
        )
    }};
}
pub(super) use vectorise;

/// What a closure of [`vectorise`] uses up.
pub(super) struct Once;

/// Swaps rows and columns: first bytes first.
#[inline(always)]
pub(super) fn transpose(mut rows: [[u8; 16]; 16]) -> [[u8; 16]; 16] {
    // Each round pairs row i with row i + 8; four of them move every byte from
    // (row, column) to (column, row).
    for _ in 0..4 {
        let mut next = [[0; 16]; 16];
        for i in 0..8 {
            let (a, b) = (rows[i], rows[i + 8]);
            for j in 0..8 {
                next[2 * i][2 * j] = a[j];
                next[2 * i][2 * j + 1] = b[j];
                next[2 * i + 1][2 * j] = a[8 + j];
                next[2 * i + 1][2 * j + 1] = b[8 + j];
            }
        }
        rows = next;
    }
    rows
}

#[cfg(test)]
mod tests {
    #[test]
    fn rows_become_columns() {
        let rows = std::array::from_fn(|i| std::array::from_fn(|j| (16 * i + j) as u8));
        let turned = super::transpose(rows);
        for i in 0..16 {
            for j in 0..16 {
                assert_eq!(turned[i][j], rows[j][i]);
            }
        }
    }
}
