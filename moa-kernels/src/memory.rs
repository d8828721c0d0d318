//! The allocator's habits.

#![allow(unsafe_code)]

/// Suits glibc's allocator to large tensors; elsewhere it does nothing. Call it once at
/// the start of a program.
///
/// Freed memory is kept for the next tensor instead of given back to the system, which
/// would map and clear fresh pages for every tensor of every step (a third of a training
/// step's time). And the memory is asked for in huge pages where the system has them for
/// those who ask: matrix products touch more pages than a processor remembers.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` only sets parameters of the allocator; these are valid.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1); // never
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
        // One heap for all threads: what one frees, another uses.
        libc::mallopt(libc::M_ARENA_MAX, 1);
        ask_for_huge_pages();
    }
}

/// Stretches the heap over addresses, not memory, and marks them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn ask_for_huge_pages() {
    const HUGE: usize = 2 << 20;
    // SAFETY: the block is ours until freed, and its contents do not matter. Advice on
    // whole pages inside it changes nothing but how they are mapped.
    unsafe {
        let pages = libc::sysconf(libc::_SC_PHYS_PAGES).max(0) as usize;
        let size = pages * libc::sysconf(libc::_SC_PAGESIZE).max(0) as usize / 2;
        let block = libc::malloc(size);
        if block.is_null() {
            return; // addresses are limited: pages stay small
        }
        let start = (block as usize).next_multiple_of(HUGE);
        let len = (block as usize + size).saturating_sub(start) / HUGE * HUGE;
        libc::madvise(start as *mut libc::c_void, len, libc::MADV_HUGEPAGE);
        libc::free(block);
    }
}
