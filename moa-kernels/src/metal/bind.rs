//! What is bound to the arguments of a kernel, by their place.

use crate::kernels::launch::{Arg, Launch};
use candle_core::Tensor;

/// An argument.
pub(crate) enum Bound<'a> {
    Tensor(&'a Tensor),
    /// A tensor that may be missing, and is.
    Missing,
    /// A number or a structure of numbers.
    Bytes(Vec<u8>),
}

/// One launch on the device.
pub(crate) struct Dispatch<'a> {
    pub bound: Vec<Bound<'a>>,
    /// A bit for each argument: it is a tensor that the kernel writes.
    pub written: u32,
    pub grid: (u32, u32, u32),
}

/// The launches for one of CUDA's: as there are no tables of addresses, one for each tensor of
/// the tables, which sees only its own of each. After the arguments comes a bit for each that is
/// there, and then the number of the tensor.
pub(crate) fn dispatches(launch: &Launch, grid: (u32, u32, u32)) -> Vec<Dispatch<'_>> {
    let lens = launch.args.iter().filter_map(|arg| match arg {
        Arg::Table(tensors) => Some(tensors.len()),
        _ => None,
    });
    match lens.max() {
        None => vec![dispatch(launch, 0, grid)],
        Some(n) => (0..n).map(|i| dispatch(launch, i, (grid.0, 1, grid.2))).collect(),
    }
}

fn bound(arg: &Arg, number: usize) -> Bound<'_> {
    match arg {
        Arg::Tensor(t) => Bound::Tensor(t),
        Arg::Table(tensors) => tensors.get(number).map_or(Bound::Missing, Bound::Tensor),
        Arg::Null => Bound::Missing,
        plain => Bound::Bytes(plain.bytes()),
    }
}

fn dispatch(launch: &Launch, number: usize, grid: (u32, u32, u32)) -> Dispatch<'_> {
    let mut bound: Vec<_> = launch.args.iter().map(|arg| bound(arg, number)).collect();
    let there = bound.iter().map(|b| u32::from(!matches!(b, Bound::Missing)));
    let given = there.enumerate().fold(0, |all, (i, bit)| all | bit << i);
    for more in [given, number as u32] {
        bound.push(Bound::Bytes(more.to_ne_bytes().into()));
    }
    Dispatch { bound, written: written(&launch.name), grid }
}

/// Which arguments of a kernel it writes: most have their results first. The tests compare this
/// with the sources.
fn written(kernel: &str) -> u32 {
    let name = kernel.trim_end_matches("_wide");
    let name = ["_f32", "_f16", "_bf16"].iter().fold(name, |name, end| name.trim_end_matches(end));
    match name {
        "adam" => 0b1101,
        "order" => 0b1111,
        "choose" | "cosine" | "units" => 0b111,
        "balance_loss" | "cosine_grad" | "flash" | "flash_query_grad" | "gate_grad" | "pack"
        | "units_grad" => 0b11,
        _ => 1,
    }
}
