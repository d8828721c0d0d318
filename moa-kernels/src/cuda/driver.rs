//! Memory of a CUDA device, and launching kernels there.

#![allow(unsafe_code)]

use super::launch::{Arg, Counts, Launch, Quad, TENSORS, Words};
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, SyncOnDrop,
};
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Result, Shape, Storage, Tensor};
use half::{bf16, f16};

/// The addresses of many tensors.
#[derive(Clone, Copy)]
#[repr(C)]
struct Table([u64; TENSORS]);

// SAFETY: plain numbers without padding.
unsafe impl DeviceRepr for Quad {}
// SAFETY: as above.
unsafe impl DeviceRepr for Words {}
// SAFETY: as above.
unsafe impl DeviceRepr for Table {}
// SAFETY: as above.
unsafe impl DeviceRepr for Counts {}

/// A new tensor, nothing written to it yet.
pub fn empty(shape: Shape, dtype: DType, device: &CudaDevice) -> Result<Tensor> {
    let (device, n) = (device.clone(), shape.elem_count().max(1));
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

/// As `(major, minor)`.
pub fn compute_capability(device: &CudaDevice) -> Result<(i32, i32)> {
    device.cuda_stream().context().compute_capability().w()
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

/// With a grid of so many blocks of so many threads.
pub fn launch(
    device: &CudaDevice,
    launch: Launch,
    (grid, block): ((u32, u32, u32), (u32, u32)),
) -> Result<()> {
    let Launch { module, name, args, .. } = launch;
    let function = device.get_or_load_custom_func(&name, module.0, module.1)?;
    let tensors = args.iter().flat_map(|arg| match arg {
        Arg::Tensor(t) => std::slice::from_ref(t),
        Arg::Table(tensors) => tensors,
        _ => &[],
    });
    let storages: Vec<_> = tensors.map(Tensor::storage_and_layout).collect();
    // Addresses, and guards that live until the launch.
    let pointers = storages.iter().map(|(s, layout)| pointer(s, layout.start_offset()));
    let pointers = pointers.collect::<Result<Vec<_>>>()?;
    let (mut left, mut tables) = (pointers.iter().map(|(p, _)| *p), Vec::new());
    for arg in &args {
        let count = match arg {
            Arg::Tensor(_) => 1,
            Arg::Table(tensors) => tensors.len(),
            _ => 0,
        };
        let mut table = Table([0; TENSORS]);
        table.0.iter_mut().zip(left.by_ref().take(count)).for_each(|(to, p)| *to = p);
        tables.push(table);
    }
    let mut builder = function.builder();
    for (arg, table) in args.iter().zip(&tables) {
        match arg {
            Arg::Tensor(_) | Arg::Null => builder.arg(&table.0[0]),
            Arg::Table(_) => builder.arg(table),
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
