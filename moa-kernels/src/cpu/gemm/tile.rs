//! The innermost loop: a tile of up to [`ROWS`] x [`COLS`] sums that stay in the
//! registers of AVX-512 from start to end.
//!
//! 14 rows of two vectors are 28 of the 32 registers; two hold the elements of `b`
//! and one that of `a`, so that each step of 28 multiply-adds needs 16 loads.

use std::arch::x86_64::*;
use std::array::from_fn;

/// Rows of a tile.
pub const ROWS: usize = 14;
/// Columns of a tile.
pub const COLS: usize = 2 * LANES;
/// Elements of a vector.
pub const LANES: usize = 16;

/// What a sum starts from.
#[derive(Clone, Copy)]
pub enum Start {
    /// Zero.
    Zero,
    /// The element that is there.
    There,
    /// The element of this row; it points to the tile's first column.
    Row(*const f32),
    /// The element of a matrix, given by the tile's first element and the stride, plus
    /// that of a row, unless null.
    Over(*const f32, usize, *const f32),
}

/// A stretch of the inner dimension.
#[derive(Clone, Copy)]
pub struct Segment {
    /// First element of the tile's first row.
    pub a: *const f32,
    /// From row to row of `a`.
    pub row_stride: usize,
    /// From step to step.
    pub col_stride: usize,
    /// Rows of [`COLS`] elements, one a step.
    pub b: *const f32,
    /// From row to row of `b`.
    pub b_stride: usize,
    /// Steps.
    pub depth: usize,
}

/// Rows that the next tile will read: fetched into the second-level cache meanwhile,
/// as the processor does not foresee the jump from tile to tile.
#[derive(Clone, Copy)]
pub struct Ahead {
    from: *const f32,
    row_stride: usize,
    /// Cache lines of a row.
    lines: usize,
    line: usize,
    /// Lines still to fetch in this tile.
    left: usize,
}

impl Ahead {
    /// Nothing.
    pub const NONE: Self =
        Self { from: std::ptr::null(), row_stride: 0, lines: 0, line: 0, left: 0 };

    /// Share `index` of `shares` of [`ROWS`] rows of `depth` elements.
    pub fn new(
        from: *const f32,
        row_stride: usize,
        depth: usize,
        index: usize,
        shares: usize,
    ) -> Self {
        let lines = depth.div_ceil(LANES);
        let (first, end) = (ROWS * lines * index / shares, ROWS * lines * (index + 1) / shares);
        let from = from.wrapping_add(first / lines.max(1) * row_stride);
        Self { from, row_stride, lines, line: first % lines.max(1), left: end - first }
    }

    #[inline(always)]
    fn fetch(&mut self) {
        if self.left == 0 {
            return;
        }
        // SAFETY: fetching ahead is allowed for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(self.from.wrapping_add(self.line * LANES).cast()) };
        self.left -= 1;
        self.line += 1;
        if self.line == self.lines {
            (self.line, self.from) = (0, self.from.wrapping_add(self.row_stride));
        }
    }
}

/// The tile's place in the result.
#[derive(Clone, Copy)]
pub struct Place {
    /// Its first element.
    pub c: *mut f32,
    /// From row to row.
    pub stride: usize,
    /// At most [`ROWS`], at least 1.
    pub rows: usize,
    /// At most [`COLS`], at least 1.
    pub cols: usize,
}

/// Steps between two fetches.
const STEPS: usize = 8; // a multiple of the steps that are unrolled
/// Steps that the elements of `b` are fetched ahead.
const NEXT: usize = 8;

/// Computes one tile.
///
/// # Safety
/// The machine has AVX-512F. Every `rows` x `depth` of `a`, `depth` x `COLS` of `b`,
/// `rows` x `cols` of `c` and `cols` of a start row can be read, those of `c` written.
pub unsafe fn tile(place: Place, start: Start, segments: &[Segment], ahead: Ahead) {
    macro_rules! dispatch {
        ($($rows:literal)*) => {
            // SAFETY: the caller's.
            unsafe {
                match (place.rows, place.cols > LANES) {
                    $(($rows, false) => sized::<$rows, 1>(place, start, segments, ahead),
                      ($rows, true) => sized::<$rows, 2>(place, start, segments, ahead),)*
                    _ => unreachable!("a tile has 1 to {ROWS} rows"),
                }
            }
        };
    }
    dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

/// Repeats a block for every number `N` of a list that is below a bound. A loop of this
/// length would stay one, with its sums in memory.
macro_rules! each {
    ($number:ident < $bound:ident in [$($value:literal)*] $block:block) => {$(
        if $value < $bound {
            const $number: usize = $value;
            $block
        }
    )*};
}

/// Takes `count` steps, a multiple of `UNROLL`. Where the strides are constants, what
/// is left beside multiply-adds and loads is next to nothing: the processor may share
/// its slots with somebody else.
///
/// # Safety
/// As of [`tile`].
#[inline(always)] // into what has the target feature
unsafe fn steps<const R: usize, const C: usize, const UNROLL: usize>(
    sums: &mut [[__m512; C]; R],
    s: &mut Segment,
    count: usize,
    (row_stride, col_stride, b_stride): (usize, usize, usize),
) {
    // Rows in threes: an address is then one of these and 0, 1 or 2 times one register,
    // which instructions compute on the way.
    let mut rows: [*const f32; ROWS.div_ceil(3)] =
        from_fn(|group| s.a.wrapping_add(3 * group * row_stride));
    let mut b = s.b;
    for _ in 0..count / UNROLL {
        each!(K < UNROLL in [0 1 2 3] {
            // SAFETY: the caller's.
            let bs: [__m512; C] = from_fn(|j| unsafe {
                _mm512_loadu_ps(b.wrapping_add(K * b_stride + j * LANES))
            });
            for j in 0..C {
                let ahead = b.wrapping_add((K + NEXT) * b_stride + j * LANES);
                // SAFETY: fetching ahead is allowed for any address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.cast()) };
            }
            each!(I < R in [0 1 2 3 4 5 6 7 8 9 10 11 12 13] {
                let a = rows[I / 3].wrapping_add(I % 3 * row_stride + K * col_stride);
                // SAFETY: the caller's.
                unsafe {
                    let a = _mm512_set1_ps(*a);
                    for (sum, &b) in sums[I].iter_mut().zip(&bs) {
                        *sum = _mm512_fmadd_ps(a, b, *sum);
                    }
                }
            });
        });
        rows = rows.map(|row| row.wrapping_add(UNROLL * col_stride));
        b = b.wrapping_add(UNROLL * b_stride);
    }
    s.a = s.a.wrapping_add(count * col_stride);
    s.b = b;
}

#[target_feature(enable = "avx512f")]
unsafe fn sized<const R: usize, const C: usize>(
    place: Place,
    start: Start,
    segments: &[Segment],
    mut ahead: Ahead,
) {
    let masks: [__mmask16; C] = from_fn(|j| mask(place.cols - j * LANES));
    let at = |i: usize, j: usize| place.c.wrapping_add(i * place.stride + j * LANES);
    // SAFETY (of all blocks): as promised by the caller of `tile`; loads and stores are
    // masked to the tile's columns.
    let mut sums: [[__m512; C]; R] = match start {
        Start::Zero => [[_mm512_setzero_ps(); C]; R],
        Start::There => {
            from_fn(|i| from_fn(|j| unsafe { _mm512_maskz_loadu_ps(masks[j], at(i, j)) }))
        }
        Start::Row(row) => {
            let load = |j| unsafe { _mm512_maskz_loadu_ps(masks[j], row.wrapping_add(j * LANES)) };
            [from_fn(load); R]
        }
        Start::Over(matrix, stride, row) => {
            let load = |from: *const f32, j: usize| unsafe {
                _mm512_maskz_loadu_ps(masks[j], from.wrapping_add(j * LANES))
            };
            let row = match row.is_null() {
                true => [_mm512_setzero_ps(); C],
                false => from_fn(|j| load(row, j)),
            };
            from_fn(|i| {
                let from = matrix.wrapping_add(i * stride);
                from_fn(|j| _mm512_add_ps(load(from, j), row[j]))
            })
        }
    };
    for segment in segments {
        let (mut s, mut left) = (*segment, segment.depth);
        while left > 0 {
            let count = left.min(STEPS);
            left -= count;
            ahead.fetch();
            let strides = (s.row_stride, s.col_stride, s.b_stride);
            unsafe {
                match strides {
                    (rows, 1, COLS) if count == STEPS => {
                        steps::<R, C, 4>(&mut sums, &mut s, STEPS, (rows, 1, COLS));
                    }
                    (1, LANES, COLS) if count == STEPS => {
                        steps::<R, C, 4>(&mut sums, &mut s, STEPS, (1, LANES, COLS));
                    }
                    _ => steps::<R, C, 1>(&mut sums, &mut s, count, strides),
                }
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (j, &sum) in sums.iter().enumerate() {
            unsafe { _mm512_mask_storeu_ps(at(i, j), masks[j], sum) };
        }
    }
}

/// The first `count` elements of a vector, all of them from 16 on.
pub fn mask(count: usize) -> __mmask16 {
    if count >= LANES { !0 } else { (1 << count) - 1 }
}
