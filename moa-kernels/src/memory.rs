//! The allocator's habits.

#![allow(unsafe_code)]

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
