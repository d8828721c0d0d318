//! Matrices inside slices.

/// Columns of a panel.
pub const PANEL: usize = 32;

/// Rows that are this far apart, or a multiple, share one set of a first-level cache, which has fewer
/// places than a tile has rows.
pub const CLASH: usize = 1024;

/// Elements from row to row for `cols` of them, such that products can read rows where they are.
pub fn apart(cols: usize) -> usize {
    if cols.is_multiple_of(CLASH) { cols + PANEL / 2 } else { cols }
}

/// A matrix inside a slice, with any strides (in elements), or in panels.
#[derive(Clone, Copy)]
pub struct View<'a, T> {
    pub(super) data: &'a [T],
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
    /// Panel after panel; the strides are those within one.
    pub(super) in_panels: bool,
    /// See [`View::before`].
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
    pub(super) later: Later,
}

/// Rows of memory, of which nothing is read: sizes are in elements.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
#[derive(Clone, Copy, Default)]
pub struct Later {
    pub(super) address: usize,
    pub(super) row_stride: usize,
    pub(super) rows: usize,
    pub(super) len: usize,
}

impl Later {
    /// `rows` of `len` elements, `row_stride` from one to the next, from an address on.
    pub fn new(address: usize, rows: usize, len: usize, row_stride: usize) -> Self {
        Self { address, row_stride, rows, len }
    }
}

impl<T> From<&[T]> for Later {
    fn from(all: &[T]) -> Self {
        Self::new(all.as_ptr().addr(), 1, all.len(), 0)
    }
}

impl<'a, T> View<'a, T> {
    /// `rows` x `cols`, row-major without gaps.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// As many rows of `cols` as there are, without gaps.
    pub fn all(data: &'a [T], cols: usize) -> Self {
        Self::new(data, data.len() / cols.max(1), cols)
    }

    /// `rows` x `cols` with `row_stride` elements from row to row.
    pub fn strided(data: &'a [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        let (col_stride, in_panels, later) = (1, false, Later::default());
        let view = Self { data, rows, cols, row_stride, col_stride, in_panels, later };
        assert!(view.fits(), "matrix view out of bounds");
        view
    }

    /// `rows` x `cols` in the order in which our own products read a right operand, which no
    /// others can: all rows of the first [`PANEL`] columns, then those of the next.
    pub fn in_panels(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert!(cols.is_multiple_of(PANEL) && data.len() == rows * cols, "not whole panels");
        let (row_stride, col_stride, in_panels) = (PANEL, 1, true);
        Self { data, rows, cols, row_stride, col_stride, in_panels, later: Later::default() }
    }

    /// What is read or written after a product that has this as its first operand: our own products
    /// have it fetched meanwhile.
    pub fn before(self, later: impl Into<Later>) -> Self {
        Self { later: later.into(), ..self }
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The transpose of the same elements.
    pub fn t(self) -> Self {
        assert!(!self.in_panels, "no transpose of panels");
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    fn fits(&self) -> bool {
        let last = |n: usize, stride: usize| n.saturating_sub(1) * stride;
        self.rows == 0
            || self.cols == 0
            || last(self.rows, self.row_stride) + last(self.cols, self.col_stride) < self.data.len()
    }
}
