//! Launching kernels on tensors.

#![allow(unsafe_code)]

use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, SyncOnDrop,
};
use candle_core::cuda_backend::{CudaStorageSlice, DeviceId, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Result, Shape, Storage, Tensor};
use half::{bf16, f16};
use std::cell::RefCell;
use std::collections::HashMap;

/// Threads of a block, in kernels that give each thread elements.
const BLOCK: u32 = 256;
/// Warps of a block, in kernels that give each warp a row.
const WARPS: u32 = 4;

/// A kernel about to be launched; arguments are added in the order of its parameters.
pub struct Launch {
    device: CudaDevice,
    module: (&'static str, &'static str),
    name: String,
    args: Vec<Arg>,
}

enum Arg {
    Tensor(Tensor),
    Null,
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Quad(Quad),
    Words(Words),
    Table(Vec<Tensor>),
    Counts(Counts),
}

/// Tensors of one launch that takes many.
pub const TENSORS: usize = 24;

/// The addresses of many tensors.
#[derive(Clone, Copy)]
#[repr(C)]
struct Table([u64; TENSORS]);

/// As many numbers.
#[derive(Clone, Copy)]
#[repr(C)]
struct Counts([i64; TENSORS]);

/// A structure of four 32-bit numbers.
#[derive(Clone, Copy)]
#[repr(C)]
struct Quad([u32; 4]);

/// A structure of eight 32-bit numbers, some of them halves of one of 64 bits.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Words(pub [u32; 8]);

// SAFETY: plain numbers without padding.
unsafe impl DeviceRepr for Quad {}
// SAFETY: as above.
unsafe impl DeviceRepr for Words {}
// SAFETY: as above.
unsafe impl DeviceRepr for Table {}
// SAFETY: as above.
unsafe impl DeviceRepr for Counts {}

/// The end of a kernel's name for an element type.
fn suffix(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("_f32"),
        DType::F16 => Ok("_f16"),
        DType::BF16 => Ok("_bf16"),
        other => candle_core::bail!("no CUDA kernel takes {other:?}"),
    }
}

/// A new tensor on the device of `like`, nothing written to it yet.
pub fn empty(shape: impl Into<Shape>, dtype: DType, like: &Tensor) -> Result<Tensor> {
    let (shape, device) = (shape.into(), like.device().as_cuda_device()?.clone());
    let n = shape.elem_count().max(1);
    // SAFETY: every kernel here writes all of its result before anything reads it.
    let storage = unsafe {
        match dtype {
            DType::F32 => CudaStorage::wrap_cuda_slice(device.alloc::<f32>(n)?, device),
            DType::F16 => CudaStorage::wrap_cuda_slice(device.alloc::<f16>(n)?, device),
            DType::BF16 => CudaStorage::wrap_cuda_slice(device.alloc::<bf16>(n)?, device),
            DType::F64 => CudaStorage::wrap_cuda_slice(device.alloc::<f64>(n)?, device),
            DType::U32 => CudaStorage::wrap_cuda_slice(device.alloc::<u32>(n)?, device),
            other => candle_core::bail!("no CUDA kernel returns {other:?}"),
        }
    };
    Ok(Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false))
}

/// Of a CUDA device, as `(major, minor)`.
pub fn compute_capability(device: &Device) -> Result<(i32, i32)> {
    device.as_cuda_device()?.cuda_stream().context().compute_capability().w()
}

/// A kernel of a module, by its name; each thread looks it up in the driver once.
fn function(
    device: &CudaDevice,
    (module, code): (&'static str, &'static str),
    name: &str,
) -> Result<CudaFunction> {
    type Found = (DeviceId, &'static str, CudaFunction);
    thread_local! {
        static FOUND: RefCell<HashMap<String, Vec<Found>>> = RefCell::default();
    }
    FOUND.with_borrow_mut(|found| {
        let known = found.get(name).into_iter().flatten();
        let known = known.into_iter().find(|(id, of, _)| *id == device.id() && *of == module);
        if let Some((.., function)) = known {
            return Ok(function.clone());
        }
        let function = device.get_or_load_custom_func(name, module, code)?.into_cuda_function();
        let entry = (device.id(), module, function.clone());
        found.entry(name.into()).or_default().push(entry);
        Ok(function)
    })
}

fn start<T>(slice: &CudaSlice<T>, offset: usize) -> (u64, SyncOnDrop<'_>) {
    let (pointer, guard) = slice.device_ptr(slice.stream());
    (pointer + (offset * std::mem::size_of::<T>()) as u64, guard)
}

/// The address of a tensor's first element, and what orders streams while it lives.
pub fn pointer(storage: &Storage, offset: usize) -> Result<(u64, SyncOnDrop<'_>)> {
    let Storage::Cuda(storage) = storage else {
        candle_core::bail!("expected a tensor on a CUDA device")
    };
    Ok(match &storage.slice {
        CudaStorageSlice::F32(s) => start(s, offset),
        CudaStorageSlice::F16(s) => start(s, offset),
        CudaStorageSlice::BF16(s) => start(s, offset),
        CudaStorageSlice::F64(s) => start(s, offset),
        CudaStorageSlice::U32(s) => start(s, offset),
        CudaStorageSlice::U8(s) => start(s, offset),
        _ => candle_core::bail!("no CUDA kernel takes {:?}", storage_dtype(storage)),
    })
}

fn storage_dtype(storage: &CudaStorage) -> DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}

impl Launch {
    /// The kernel `name` of `module` (its name and code), as it is.
    pub fn plain(
        device: &Device,
        module: (&'static str, &'static str),
        name: impl Into<String>,
    ) -> Result<Self> {
        let device = device.as_cuda_device()?.clone();
        Ok(Self { device, module, name: name.into(), args: Vec::new() })
    }

    /// The instance of the kernel for elements of `dtype`.
    pub fn of(
        device: &Device,
        module: (&'static str, &'static str),
        name: &str,
        dtype: DType,
    ) -> Result<Self> {
        Self::plain(device, module, format!("{name}{}", suffix(dtype)?))
    }

    fn add(mut self, arg: Arg) -> Self {
        self.args.push(arg);
        self
    }

    pub fn tensor(self, t: &Tensor) -> Result<Self> {
        if !t.is_contiguous() {
            candle_core::bail!("{}: a tensor is not contiguous", self.name);
        }
        Ok(self.add(Arg::Tensor(t.clone())))
    }

    /// The addresses of up to [`TENSORS`] tensors.
    pub fn table<'a>(self, tensors: impl Iterator<Item = &'a Tensor>) -> Result<Self> {
        let tensors: Vec<_> = tensors.cloned().collect();
        if tensors.len() > TENSORS || tensors.iter().any(|t| !t.is_contiguous()) {
            candle_core::bail!("{}: too many tensors, or one is not contiguous", self.name);
        }
        Ok(self.add(Arg::Table(tensors)))
    }

    /// As many numbers.
    pub fn counts(self, numbers: impl Iterator<Item = usize>) -> Self {
        let mut counts = [0; TENSORS];
        counts.iter_mut().zip(numbers).for_each(|(to, n)| *to = n as i64);
        self.add(Arg::Counts(Counts(counts)))
    }

    /// A view from its first element on, its strides known to the kernel.
    pub fn whole(self, t: &Tensor) -> Self {
        self.add(Arg::Tensor(t.clone()))
    }

    pub fn optional(self, t: Option<&Tensor>) -> Result<Self> {
        match t {
            Some(t) => self.tensor(t),
            None => Ok(self.add(Arg::Null)),
        }
    }

    pub fn int(self, v: usize) -> Self {
        self.add(Arg::Int(v as i32))
    }

    pub fn long(self, v: usize) -> Self {
        self.add(Arg::Long(v as i64))
    }

    pub fn float(self, v: f64) -> Self {
        self.add(Arg::Float(v as f32))
    }

    pub fn double(self, v: f64) -> Self {
        self.add(Arg::Double(v))
    }

    pub fn quad(self, v: [u32; 4]) -> Self {
        self.add(Arg::Quad(Quad(v)))
    }

    pub fn words(self, v: Words) -> Self {
        self.add(Arg::Words(v))
    }

    /// One thread for each element, or for each 16 bytes of them where rows of `cols`
    /// elements and all tensors begin at such places.
    pub fn elements(mut self, count: usize, cols: usize) -> Result<()> {
        let per_thread = self.widen(cols)?;
        let blocks = count.div_ceil(per_thread).div_ceil(BLOCK as usize);
        self.launch((blocks as u32, 1, 1), (BLOCK, 1))
    }

    /// One thread for each of `count` things, whatever it is.
    pub fn threads(self, count: usize, of: usize) -> Result<()> {
        let blocks = count.div_ceil(BLOCK as usize);
        self.launch((blocks as u32, of as u32, 1), (BLOCK, 1))
    }

    /// One warp for each of `count` things, `of` times.
    pub fn warps_of(self, count: usize, of: usize) -> Result<()> {
        self.launch((count.div_ceil(WARPS as usize) as u32, of as u32, 1), (32, WARPS))
    }

    /// Blocks of so many threads.
    pub fn blocks(self, grid: (u32, u32, u32), threads: u32) -> Result<()> {
        self.launch(grid, (threads, 1))
    }

    /// One thread.
    pub fn single(self) -> Result<()> {
        self.launch((1, 1, 1), (1, 1))
    }

    /// One warp for each of `rows` rows of `cols` elements.
    pub fn warps(mut self, rows: usize, cols: usize) -> Result<()> {
        self.widen(cols)?;
        self.launch((rows.div_ceil(WARPS as usize) as u32, 1, 1), (32, WARPS))
    }

    /// Takes the instance that moves 16 bytes at once if it can be; returns the number of
    /// elements that a thread moves.
    fn widen(&mut self, cols: usize) -> Result<usize> {
        let bytes = if self.name.ends_with("_f32") { 4 } else { 2 };
        let wide = 16 / bytes;
        let mut aligned = cols.is_multiple_of(wide);
        for arg in &self.args {
            if let Arg::Tensor(t) = arg {
                aligned &= t.layout().start_offset().is_multiple_of(wide);
            }
        }
        if !aligned {
            return Ok(1);
        }
        self.name.push_str("_wide");
        Ok(wide)
    }

    fn launch(self, grid: (u32, u32, u32), block: (u32, u32)) -> Result<()> {
        if grid.0 == 0 || grid.1 == 0 || grid.2 == 0 {
            return Ok(()); // nothing to do
        }
        let function = function(&self.device, self.module, &self.name)?;
        let tensors = self.args.iter().flat_map(|arg| match arg {
            Arg::Tensor(t) => std::slice::from_ref(t),
            Arg::Table(tensors) => tensors,
            _ => &[],
        });
        let storages: Vec<_> = tensors.map(Tensor::storage_and_layout).collect();
        // Addresses, and guards that live until the launch.
        let pointers = storages.iter().map(|(s, layout)| pointer(s, layout.start_offset()));
        let pointers = pointers.collect::<Result<Vec<_>>>()?;
        let mut left = pointers.iter().map(|(p, _)| *p);
        let (mut singles, mut tables) = (Vec::with_capacity(self.args.len()), Vec::new());
        for arg in &self.args {
            match arg {
                Arg::Tensor(_) => singles.push(left.next().unwrap_or_default()),
                Arg::Null => singles.push(0),
                Arg::Table(tensors) => {
                    let mut table = Table([0; TENSORS]);
                    let own = left.by_ref().take(tensors.len());
                    table.0.iter_mut().zip(own).for_each(|(to, p)| *to = p);
                    tables.push(table);
                }
                _ => {}
            }
        }
        let (mut singles, mut tables) = (singles.iter(), tables.iter());
        let stream = self.device.cuda_stream();
        let mut builder = stream.launch_builder(&function);
        for arg in &self.args {
            match arg {
                Arg::Tensor(_) | Arg::Null => match singles.next() {
                    Some(pointer) => builder.arg(pointer),
                    None => continue,
                },
                Arg::Table(_) => match tables.next() {
                    Some(table) => builder.arg(table),
                    None => continue,
                },
                Arg::Counts(v) => builder.arg(v),
                Arg::Int(v) => builder.arg(v),
                Arg::Long(v) => builder.arg(v),
                Arg::Float(v) => builder.arg(v),
                Arg::Double(v) => builder.arg(v),
                Arg::Quad(v) => builder.arg(v),
                Arg::Words(v) => builder.arg(v),
            };
        }
        let config =
            LaunchConfig { grid_dim: grid, block_dim: (block.0, block.1, 1), shared_mem_bytes: 0 };
        // SAFETY: the arguments are those of the kernel, in order; it stays inside tensors
        // of the shapes that the callers have checked.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}
