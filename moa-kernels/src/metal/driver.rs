//! Memory of a Metal device, and launching kernels there.

use super::bind::{Bound, dispatches};
use super::library;
use crate::kernels::launch::Launch;
use candle_core::backend::BackendStorage;
use candle_core::op::BackpropOp;
use candle_core::{DType, MetalDevice, MetalStorage, Result, Shape, Storage, Tensor};
use objc2_metal::MTLSize;

/// What stands for a tensor that is missing; no kernel reads it.
const NOTHING: [u8; 16] = [0; 16];

/// A new tensor, nothing written to it yet: every kernel here writes all of its result before
/// anything reads it.
pub fn empty(shape: Shape, dtype: DType, device: &MetalDevice) -> Result<Tensor> {
    let n = shape.elem_count().max(1);
    let buffer = device.new_buffer_builder().with_size_for(n, dtype).with_label("moa").build()?;
    let storage = MetalStorage::new(buffer, device.clone(), n, dtype);
    Ok(Tensor::from_storage(Storage::Metal(storage), shape, BackpropOp::none(), false))
}

fn size((width, height, depth): (u32, u32, u32)) -> MTLSize {
    MTLSize { width: width as usize, height: height as usize, depth: depth as usize }
}

/// With a grid of so many groups of so many threads. Launches run at the same time unless they
/// share a buffer that one of them writes: the encoder is told which each does.
pub fn launch(
    device: &MetalDevice,
    launch: &Launch,
    (grid, (width, height)): ((u32, u32, u32), (u32, u32)),
) -> Result<()> {
    let threads = (width * height) as usize;
    let pipeline = library::pipeline(device, &launch.file(), &launch.name, threads)?;
    for dispatch in dispatches(launch, grid) {
        let storages = dispatch.bound.iter().map(|bound| match bound {
            Bound::Tensor(t) => Some(t.storage_and_layout()),
            _ => None,
        });
        let storages: Vec<_> = storages.collect();
        // After whatever else waits for the encoder.
        let guard = device.command_encoder()?;
        let encoder = guard.as_ref();
        encoder.set_compute_pipeline_state(&pipeline);
        for (i, (bound, storage)) in dispatch.bound.iter().zip(&storages).enumerate() {
            match (bound, storage) {
                (Bound::Bytes(bytes), _) => {
                    encoder.set_bytes_directly(i, bytes.len(), bytes.as_ptr().cast());
                }
                (_, Some((storage, layout))) => {
                    let Storage::Metal(storage) = &**storage else {
                        candle_core::bail!("{}: a tensor is elsewhere", launch.name)
                    };
                    let offset = layout.start_offset() * storage.dtype().size_in_bytes();
                    match dispatch.written >> i & 1 == 1 {
                        true => encoder.set_output_buffer(i, Some(storage.buffer()), offset),
                        false => encoder.set_input_buffer(i, Some(storage.buffer()), offset),
                    }
                }
                _ => encoder.set_bytes(i, &NOTHING),
            }
        }
        encoder.dispatch_thread_groups(size(dispatch.grid), size((width, height, 1)));
    }
    Ok(())
}
