//! The allocator's habits.

#![allow(unsafe_code)]

#[cfg(feature = "cuda")]
use candle_core::cuda_backend::{WrapErr, cudarc::driver::sys};
use candle_core::{Device, Result};

/// Tells glibc to keep freed memory for the next tensor instead of giving it
/// back to the system, which would map and clear fresh pages for every tensor
/// of every step (a third of a training step's time). Call it once at the start
/// of a program; elsewhere than on glibc it does nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` only sets parameters of the allocator; these are valid.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1); // never
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
        // One heap for all threads: what one frees, another uses.
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// The same for a CUDA device: its pool keeps what tensors free, and no events are recorded
/// for them, as everything runs on the device's one stream. Call it once after opening a
/// device, with `Device::new_cuda_with_stream`. Elsewhere it does nothing.
///
/// # Errors
/// If the driver refuses.
pub fn prepare(device: &Device) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        // SAFETY: all tensors live on the one stream of the device.
        unsafe { device.disable_event_tracking() };
        let mut forever = u64::MAX;
        attribute(device, |pool| {
            let name = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            // SAFETY: the attribute's value is a `u64`.
            unsafe { sys::cuMemPoolSetAttribute(pool, name, (&raw mut forever).cast()) }
        })?;
    }
    let _ = device;
    Ok(())
}

/// The most memory that tensors on a CUDA device have had at once, in bytes.
pub fn device_peak(device: &Device) -> Option<u64> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        let mut peak = 0u64;
        let read = attribute(device, |pool| {
            let name = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
            // SAFETY: the attribute's value is a `u64`.
            unsafe { sys::cuMemPoolGetAttribute(pool, name, (&raw mut peak).cast()) }
        });
        return read.is_ok().then_some(peak);
    }
    let _ = device;
    None
}

/// Calls `f` with the pool that a device's tensors come from.
#[cfg(feature = "cuda")]
fn attribute(
    device: &candle_core::CudaDevice,
    f: impl FnOnce(sys::CUmemoryPool) -> sys::CUresult,
) -> Result<()> {
    let mut pool = std::ptr::null_mut();
    let number = device.cuda_stream().context().cu_device();
    // SAFETY: `pool` is written, nothing else.
    unsafe { sys::cuDeviceGetDefaultMemPool(&mut pool, number) }.result().w()?;
    f(pool).result().w()
}
