//! An allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// An allocation from here on is large: a tensor, or a copy of one.
pub const LARGE: usize = 64 << 10;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGE_ONES: AtomicUsize = AtomicUsize::new(0);

struct Counter;

#[global_allocator]
static COUNTER: Counter = Counter;

fn grows(size: usize) {
    let live = LIVE.fetch_add(size, Relaxed) + size;
    PEAK.fetch_max(live, Relaxed);
    LARGE_ONES.fetch_add(usize::from(size >= LARGE), Relaxed);
}

// SAFETY: every call goes on to the system's allocator as it came; counting touches
// atomics only and never allocates.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grows(layout.size());
        // SAFETY: the caller's promises are those that `System` needs.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grows(layout.size());
        // SAFETY: as of `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as of `alloc`; what is given back came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there for a moment if it moves.
        grows(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as of `dealloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// What something took.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Bytes at its peak, beyond those before.
    pub peak: usize,
    /// Allocations of [`LARGE`] bytes or more.
    pub large: usize,
}

/// Bytes allocated and not given back, by all threads.
pub fn live() -> usize {
    LIVE.load(Relaxed)
}

/// Runs `f`. Nothing else may run meanwhile.
pub fn counted(f: impl FnOnce()) -> Counted {
    let (before, large) = (live(), LARGE_ONES.load(Relaxed));
    PEAK.store(before, Relaxed);
    f();
    let peak = PEAK.load(Relaxed) - before;
    Counted { peak, large: LARGE_ONES.load(Relaxed) - large }
}
