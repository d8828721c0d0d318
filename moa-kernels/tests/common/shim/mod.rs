//! The kernels' own sources, `cuda/*.cu` and `metal/*.metal`, compiled for the CPU by a compiler of
//! C++ and run with the headers in `tests/shim`, which stand for CUDA and Metal.
//!
//! Every launch is run three times, its threads and blocks in another order each time: a
//! barrier that is missing lets some thread read too early or write too early in one of them.
//! All must write the same bits, and nothing outside the memory that they were given.

mod build;
mod guarded;

use candle_core::{Result, Tensor};
use guarded::Guarded;
use moa_kernels::emulate::{Call, Emulator, Place, Value};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_uint, c_void};
use std::rc::Rc;
use std::sync::Mutex;

pub use build::compiler;

/// Orders of threads, and their names: see `tests/shim/block.h`.
const ORDERS: [&str; 3] = ["ascending", "descending", "shuffled"];

/// Addresses in a structure of them, see `common.cuh`.
const TABLE: usize = 24;

/// `launch` of `tests/shim/kernels.h`.
type Launch = unsafe extern "C" fn(
    *const c_char,
    *const c_uint,
    *const c_uint,
    *mut *mut c_void,
    c_uint,
) -> *const c_char;

/// `written` there: which arguments of a kernel are addresses of something to write.
type Written = unsafe extern "C" fn(*const c_char) -> c_uint;

/// Those of a file.
#[derive(Clone, Copy)]
struct Kernels {
    launch: Launch,
    written: Written,
}

/// What kernels get for a tensor that is missing, if they have to be told so by other means:
/// nothing can be read there.
const NOWHERE: u64 = 16;

/// Runs kernels, and counts what it is asked for.
#[derive(Default)]
pub struct Shim {
    metal: bool,
    launches: RefCell<BTreeMap<String, usize>>,
    /// Told before and after the shim itself uses tensors, with true and false.
    pub works: Cell<Option<fn(bool)>>,
}

impl Shim {
    /// How often each kernel has been launched since the last call; products are `product`.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.launches.take()
    }

    fn unseen<R>(&self, f: impl FnOnce() -> R) -> R {
        let tell = |now| self.works.get().into_iter().for_each(|tell| tell(now));
        tell(true);
        let result = f();
        tell(false);
        result
    }

    fn count(&self, name: &str) {
        *self.launches.borrow_mut().entry(name.into()).or_default() += 1;
    }
}

/// Calls `f` with kernels run from their sources.
pub fn on_the_shim<R>(f: impl FnOnce(&Shim) -> R) -> R {
    on(Shim::default(), f)
}

/// The same with those of Metal.
pub fn on_the_metal_shim<R>(f: impl FnOnce(&Shim) -> R) -> R {
    on(Shim { metal: true, ..Shim::default() }, f)
}

fn on<R>(shim: Shim, f: impl FnOnce(&Shim) -> R) -> R {
    let shim = Rc::new(shim);
    moa_kernels::emulate::emulated(shim.clone(), || f(&shim))
}

impl Emulator for Shim {
    fn metal(&self) -> bool {
        self.metal
    }

    fn launch(&self, call: Call<'_>) -> std::result::Result<(), String> {
        self.count(call.kernel);
        let language = if self.metal { build::METAL } else { build::CUDA };
        let Kernels { launch, written } = build::library(call.file, &language)?;
        let name = CString::new(call.kernel).map_err(|e| e.to_string())?;
        // SAFETY: the library is loaded.
        let written = unsafe { written(name.as_ptr()) };
        if call.written.is_some_and(|told| told != written) {
            return Err(format!("writes arguments {written:b}, not {:b}", call.written.unwrap()));
        }
        let mut results: Vec<(&str, Vec<Guarded>)> = Vec::new();
        // Real threads have no order.
        let orders = if build::real_threads() { 1 } else { ORDERS.len() };
        for (order, name) in ORDERS.into_iter().enumerate().take(orders) {
            let mut memory: Vec<_> = call.memory.iter().map(|m| Guarded::new(m)).collect();
            run(launch, &call, &mut memory, order)?;
            if memory.iter().any(|m| !m.whole()) {
                return Err("writes outside its tensors".into());
            }
            if let Some((other, first)) = results.first() {
                let same = first.iter().zip(&memory).all(|(a, b)| a.bytes() == b.bytes());
                if !same {
                    return Err(format!(
                        "threads in {name} order give another result than {other}"
                    ));
                }
            }
            results.push((name, memory));
        }
        for (to, from) in call.memory.into_iter().zip(&results[0].1) {
            to.copy_from_slice(from.bytes());
        }
        Ok(())
    }

    fn product(&self, compute: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.count("product");
        self.unseen(compute)
    }

    fn empty(&self, make: &mut dyn FnMut() -> Result<Tensor>) -> Result<Tensor> {
        self.unseen(make)
    }
}

/// Runs a kernel once on copies of what it may touch.
fn run(
    launch: Launch,
    call: &Call<'_>,
    memory: &mut [Guarded],
    order: usize,
) -> std::result::Result<(), String> {
    let mut at = |p: &Place| memory[p.number].start() as usize as u64 + p.offset as u64;
    let mut values: Vec<Vec<u64>> = Vec::new();
    for arg in &call.args {
        values.push(match arg {
            Value::Address(place) => {
                let missing = if call.written.is_some() { NOWHERE } else { 0 };
                vec![place.as_ref().map_or(missing, &mut at)]
            }
            Value::Addresses(places) => {
                let mut table: Vec<u64> = places.iter().map(&mut at).collect();
                table.resize(TABLE, 0);
                table
            }
            Value::Plain(bytes) => {
                let word = |b: &[u8]| {
                    let mut word = [0; 8];
                    word[..b.len()].copy_from_slice(b);
                    u64::from_ne_bytes(word)
                };
                bytes.chunks(8).map(word).collect()
            }
        });
    }
    let mut args: Vec<*mut c_void> = values.iter_mut().map(|v| v.as_mut_ptr().cast()).collect();
    let name = CString::new(call.kernel).map_err(|e| e.to_string())?;
    let (blocks, threads) = (call.blocks.as_ptr(), call.threads.as_ptr());
    // Fibers and shared memory of a library are there once.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    // SAFETY: the arguments are as many and as large as the launcher gives to a device; what
    // the kernel does with them is what is tested.
    let error =
        unsafe { launch(name.as_ptr(), blocks, threads, args.as_mut_ptr(), order as c_uint) };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a message that the library holds.
    Err(unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned())
}
