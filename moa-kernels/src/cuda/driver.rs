//! Memory of a CUDA device, and launching kernels there.

#![allow(unsafe_code)]

use crate::kernels::launch::{Arg, Counts, Launch, Quad, TENSORS, Words};
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, SyncOnDrop,
};
use candle_core::cuda_backend::{CudaStorageSlice, DeviceId, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Result, Shape, Storage, Tensor};
use half::{bf16, f16};
use std::cell::RefCell;
use std::collections::HashMap;

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

/// With a grid of so many blocks of so many threads.
pub fn launch(
    device: &CudaDevice,
    launch: Launch,
    (grid, block): ((u32, u32, u32), (u32, u32)),
) -> Result<()> {
    let Launch { module, name, args, .. } = launch;
    let function = function(device, module, &name)?;
    let tensors = args.iter().flat_map(|arg| match arg {
        Arg::Tensor(t) => std::slice::from_ref(t),
        Arg::Table(tensors) => tensors,
        _ => &[],
    });
    let storages: Vec<_> = tensors.map(Tensor::storage_and_layout).collect();
    // Addresses, and guards that live until the launch.
    let pointers = storages.iter().map(|(s, layout)| pointer(s, layout.start_offset()));
    let pointers = pointers.collect::<Result<Vec<_>>>()?;
    let mut left = pointers.iter().map(|(p, _)| *p);
    let (mut singles, mut tables) = (Vec::with_capacity(args.len()), Vec::new());
    for arg in &args {
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
    let stream = device.cuda_stream();
    let mut builder = stream.launch_builder(&function);
    for arg in &args {
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
