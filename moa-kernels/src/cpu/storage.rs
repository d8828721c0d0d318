//! Slices in and out of candle tensors.

#![allow(unsafe_code)]

use candle_core::{CpuStorage, Error, Layout, Result, Shape, Storage, Tensor, WithDType};

/// Runs `$body` with `$T` standing for the element type of `$dtype`.
macro_rules! by_float {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => {{
        #[allow(unused_imports)]
        use candle_core::{WithDType as _, backend::BackendStorage as _};
        match $dtype {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err(candle_core::Error::UnsupportedDTypeForOp(other, $op).bt()),
        }
    }};
}
pub(crate) use by_float;

/// The elements behind a contiguous layout.
pub fn data<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let all = storage.as_slice::<T>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&all[start..end]),
        None => Err(Error::RequiresContiguous { op: "moa-kernels" }.bt()),
    }
}

/// Calls `f` with the elements of a CPU tensor, row-major.
pub fn with_data<T: WithDType, R>(t: &Tensor, f: impl FnOnce(&[T]) -> Result<R>) -> Result<R> {
    let t = t.contiguous()?;
    f(&Read::new(&t)?)
}

/// The elements of a contiguous CPU tensor, for as long as this lives.
pub struct Read<'a, T> {
    storage: Box<dyn std::ops::Deref<Target = Storage> + 'a>,
    range: std::ops::Range<usize>,
    kind: std::marker::PhantomData<T>,
}

impl<'a, T: WithDType> Read<'a, T> {
    pub fn new(t: &'a Tensor) -> Result<Self> {
        let (storage, layout) = t.storage_and_layout();
        let Storage::Cpu(cpu) = &*storage else {
            candle_core::bail!("expected a tensor on the CPU")
        };
        data::<T>(cpu, layout)?; // type and layout
        let start = layout.start_offset();
        let range = start..start + layout.shape().elem_count();
        Ok(Self { storage: Box::new(storage), range, kind: std::marker::PhantomData })
    }

    /// [`Read::new`] of what may not be there.
    pub fn optional(t: Option<&'a Tensor>) -> Result<Option<Self>> {
        t.map(Self::new).transpose()
    }
}

impl<T: WithDType> std::ops::Deref for Read<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &**self.storage {
            Storage::Cpu(cpu) => cpu.as_slice::<T>().map_or(&[], |all| &all[self.range.clone()]),
            _ => &[], // refused by `new`
        }
    }
}

/// The elements as a new storage.
pub fn element<T: WithDType>(values: Vec<T>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (T::to_cpu_storage_owned(values), shape.into())
}

/// A tensor like `model` (device) from elements; no copy on the CPU.
pub fn tensor<T: WithDType>(
    values: Vec<T>,
    shape: impl Into<Shape>,
    model: &Tensor,
) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), model.device())
}

/// A slice that several threads write to at places that do not overlap, which
/// the borrow checker cannot see (columns of one head, rows of one expert).
pub struct Scattered<'a, T> {
    start: *mut T,
    len: usize,
    life: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: only `row` gives access, and its contract forbids overlap.
unsafe impl<T: Send> Sync for Scattered<'_, T> {}
// SAFETY: as above; the pointer itself may travel.
unsafe impl<T: Send> Send for Scattered<'_, T> {}

impl<'a, T> Scattered<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), life: std::marker::PhantomData }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The elements from `at` on.
    pub fn after(&self, at: usize) -> Self {
        assert!(at <= self.len, "out of bounds");
        Self { start: self.start.wrapping_add(at), len: self.len - at, life: self.life }
    }

    /// Where the element `at` is.
    pub fn address(&self, at: usize) -> usize {
        self.start.wrapping_add(at).addr()
    }

    /// A pointer to the element `at`, to write parts of rows through.
    ///
    /// # Safety
    /// What is written through it lies inside the slice and overlaps with nothing that
    /// is written or borrowed elsewhere at the time.
    pub unsafe fn pointer(&self, at: usize) -> *mut T {
        assert!(at < self.len, "out of bounds");
        // SAFETY: in bounds.
        unsafe { self.start.add(at) }
    }

    /// `len` elements from `at`.
    ///
    /// # Safety
    /// No two live results may overlap.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn row(&self, at: usize, len: usize) -> &mut [T] {
        assert!(at.checked_add(len).is_some_and(|end| end <= self.len), "out of bounds");
        // SAFETY: in bounds (checked above), not overlapping (caller).
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}
