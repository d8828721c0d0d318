//! Loops compiled for the machine that they run on.

/// Runs a block in which the compiler may use the widest vectors of this machine
/// (AVX-512, AVX2, NEON) instead of those that every machine has.
///
/// The bits are the same whatever the machine: Rust neither reorders sums nor
/// fuses products with them. Only what is inlined into the block profits, so calls
/// of rayon stand outside of it.
#[doc(hidden)] // for moa-core, which decodes images
#[macro_export]
macro_rules! vectorise {
    ($body:expr) => {{
        let once = $crate::Once;
        // The attribute holds only where the closure itself is called. What may be
        // called twice is called through a shim instead, which is not inlined: hence
        // a closure that uses something up.
        $crate::pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let _once = once;
                $body
            },
        )
    }};
}
pub(crate) use crate::vectorise;

/// What a closure of [`vectorise`] uses up.
#[doc(hidden)]
pub struct Once;
