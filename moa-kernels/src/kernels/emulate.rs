//! Something that runs the kernels in place of a device, on memory of the CPU: tests compile
//! their sources for the CPU.

#![allow(unsafe_code)]

use super::launch::{Arg, Launch};
use crate::metal::bind::{self, Bound};
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Result, Shape, Tensor};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What an emulator claims to be: kernels for tensor cores run.
pub const COMPUTE_CAPABILITY: (i32, i32) = (9, 0);

/// Runs kernels.
pub trait Emulator {
    /// True if it runs `metal/*.metal`, not `cuda/*.cu`.
    fn metal(&self) -> bool {
        false
    }

    /// Does what the kernel does. If it is an error, the launch is one.
    ///
    /// # Errors
    /// What went wrong, in words.
    fn launch(&self, call: Call<'_>) -> std::result::Result<(), String>;

    /// Calls `compute`, which does what one call of cuBLAS would.
    ///
    /// # Errors
    /// Those of `compute`.
    fn product(&self, compute: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        compute()
    }

    /// Calls `make`, which makes a tensor for a kernel to write.
    ///
    /// # Errors
    /// Those of `make`.
    fn empty(&self, make: &mut dyn FnMut() -> Result<Tensor>) -> Result<Tensor> {
        make()
    }
}

/// One launch of a kernel.
pub struct Call<'a> {
    /// `cuda/FILE.cu` or `metal/FILE.metal` has it.
    pub file: &'a str,
    /// Its name.
    pub kernel: &'a str,
    /// Size of the grid.
    pub blocks: [u32; 3],
    /// Size of a block.
    pub threads: [u32; 3],
    /// Its arguments in order.
    pub args: Vec<Value>,
    /// For Metal, a bit for each argument, by its place: a tensor that may be written.
    pub written: Option<u32>,
    /// What the arguments' addresses point into.
    pub memory: Vec<&'a mut [u8]>,
}

/// An argument.
pub enum Value {
    /// An address, or null.
    Address(Option<Place>),
    /// A structure of addresses.
    Addresses(Vec<Place>),
    /// The bytes of a number or a structure of them.
    Plain(Vec<u8>),
}

/// Byte `offset` of `memory[number]` of a call.
#[derive(Clone, Copy)]
pub struct Place {
    /// Which memory.
    pub number: usize,
    /// Bytes from its start.
    pub offset: usize,
}

thread_local! {
    static EMULATOR: RefCell<Option<Rc<dyn Emulator>>> = const { RefCell::new(None) };
}

/// Runs `f`, in which operations on tensors of the CPU launch their kernels on an emulator.
pub fn emulated<R>(emulator: Rc<dyn Emulator>, f: impl FnOnce() -> R) -> R {
    let before = EMULATOR.replace(Some(emulator));
    let result = crate::as_on_a_device(f);
    EMULATOR.set(before);
    result
}

/// True inside [`emulated`].
pub fn on() -> bool {
    EMULATOR.with_borrow(Option::is_some)
}

/// True inside [`emulated`] by an emulator for Metal.
pub(crate) fn metal() -> bool {
    EMULATOR.with_borrow(|emulator| emulator.as_ref().is_some_and(|e| e.metal()))
}

fn emulator() -> Result<Rc<dyn Emulator>> {
    let none = || candle_core::Error::msg("no kernels for tensors on this device");
    EMULATOR.with_borrow(Clone::clone).ok_or_else(none)
}

/// Of bytes that are not a number in any type.
pub(super) fn empty(shape: Shape, dtype: DType, device: &Device) -> Result<Tensor> {
    emulator()?.empty(&mut || {
        let tensor = Tensor::zeros(&shape, dtype, device)?;
        bytes(&tensor)?.fill(0xFF);
        Ok(tensor)
    })
}

pub(super) fn launch(launch: Launch, (grid, block): ((u32, u32, u32), (u32, u32))) -> Result<()> {
    if metal() {
        return bind::dispatches(&launch, grid)
            .iter()
            .try_for_each(|d| dispatch(&launch, d, block));
    }
    let mut memory = Memory(Vec::new());
    let mut args = Vec::new();
    for arg in &launch.args {
        args.push(match arg {
            Arg::Tensor(t) => Value::Address(Some(memory.place(t)?)),
            Arg::Null => Value::Address(None),
            Arg::Table(all) => {
                Value::Addresses(all.iter().map(|t| memory.place(t)).collect::<Result<_>>()?)
            }
            Arg::Double(v) => Value::Plain(v.to_ne_bytes().into()),
            plain => Value::Plain(plain.bytes()),
        });
    }
    call(&launch, args, memory, None, (grid, block))
}

/// One launch of those that Metal makes of it.
fn dispatch(launch: &Launch, dispatch: &bind::Dispatch<'_>, block: (u32, u32)) -> Result<()> {
    let mut memory = Memory(Vec::new());
    let mut args = Vec::new();
    for bound in &dispatch.bound {
        args.push(match bound {
            Bound::Tensor(t) => Value::Address(Some(memory.place(t)?)),
            Bound::Missing => Value::Address(None),
            Bound::Bytes(bytes) => Value::Plain(bytes.clone()),
        });
    }
    call(launch, args, memory, Some(dispatch.written), (dispatch.grid, block))
}

/// The memory of the tensors of a launch, each once.
struct Memory<'a>(Vec<&'a mut [u8]>);

impl Memory<'_> {
    fn place(&mut self, t: &Tensor) -> Result<Place> {
        let whole = bytes(t)?;
        let known = self.0.iter().position(|m| m.as_ptr() == whole.as_ptr());
        let number = known.unwrap_or(self.0.len());
        if known.is_none() {
            self.0.push(whole);
        }
        Ok(Place { number, offset: t.layout().start_offset() * t.dtype().size_in_bytes() })
    }
}

fn call(
    launch: &Launch,
    args: Vec<Value>,
    memory: Memory<'_>,
    written: Option<u32>,
    (grid, block): ((u32, u32, u32), (u32, u32)),
) -> Result<()> {
    let call = Call {
        file: &launch.file(),
        kernel: &launch.name,
        blocks: [grid.0, grid.1, grid.2],
        threads: [block.0, block.1, 1],
        args,
        written,
        memory: memory.0,
    };
    let wrong = |what| candle_core::Error::msg(format!("{}: {what}", launch.name));
    emulator()?.launch(call).map_err(wrong)
}

/// `to = a b + beta to`, rounded once.
pub(super) fn product(to: &Tensor, (a, b): (&Tensor, &Tensor), beta: f32) -> Result<()> {
    emulator()?.product(&mut || {
        let f32 = |t: &Tensor| t.to_dtype(DType::F32)?.contiguous();
        let mut sum = f32(a)?.matmul(&f32(b)?)?;
        if beta != 0.0 {
            sum = (sum + (f32(to)? * f64::from(beta))?)?;
        }
        let (sum, size) = (sum.to_dtype(to.dtype())?, to.dtype().size_in_bytes());
        let (from, into) = (bytes(&sum)?, bytes(to)?);
        for (i, at) in to.strided_index().enumerate() {
            into[at * size..][..size].copy_from_slice(&from[i * size..][..size]);
        }
        Ok(())
    })
}

/// The whole memory that a tensor is part of.
fn bytes<'a>(t: &Tensor) -> Result<&'a mut [u8]> {
    let found = Bytes(Cell::new((std::ptr::null_mut(), 0)));

    t.inplace_op1(&found)?;
    let (start, len) = found.0.get();
    // SAFETY: the memory of the tensor, which lives as long as the launch does; no one else
    // reads or writes it then.
    Ok(unsafe { std::slice::from_raw_parts_mut(start, len) })
}

struct Bytes(Cell<(*mut u8, usize)>);

impl InplaceOp1 for Bytes {
    fn name(&self) -> &'static str {
        "moa-bytes"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> Result<()> {
        fn all<T>(v: &mut [T]) -> (*mut u8, usize) {
            (v.as_mut_ptr().cast(), std::mem::size_of_val(v))
        }
        self.0.set(match storage {
            CpuStorage::U8(v) => all(v),
            CpuStorage::U32(v) => all(v),
            CpuStorage::F16(v) => all(v),
            CpuStorage::BF16(v) => all(v),
            CpuStorage::F32(v) => all(v),
            CpuStorage::F64(v) => all(v),
            _ => candle_core::bail!("no kernel takes such a tensor"),
        });
        Ok(())
    }
}
