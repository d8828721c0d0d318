//! A frozen linear layer with routed LoRA experts (linear router) against the same layer
//! without, in turns: `cargo bench -p moa-kernels --bench routed`, and how that scales
//! with tokens, experts and ranks. Prints medians and the median, lowest and highest
//! ratio of neighbours in time, forward and forward with backward (the gradient of `x`
//! included). With `--case FILE DEVICE DTYPE` it is one layer that `bench/compare_routed.py`
//! made, on a GPU too.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod case;
mod layer;

use layer::{Layer, Times, WIDTH, Work};

const RANKS: [usize; 4] = [1, 2, 4, 8];
const SECONDS: f64 = 4.0;

/// Four experts of different rank, in the shapes of ViT-B/16.
fn shapes() {
    for (tokens, out) in [(1576, 2304), (1576, 768), (6304, 2304), (6304, 768)] {
        let layer = Layer::new(tokens, out, &RANKS);
        for (work, name) in [(Work::Forward, "forward"), (Work::Training, "training")] {
            let Times { frozen, routed, ratio, low, high } = layer.compare(work, SECONDS);
            println!(
                "{tokens} tokens, {WIDTH} to {out}, {name}: frozen {frozen:.2} ms, routed \
                 {routed:.2} ms, ratio {ratio:.3} ({low:.3} to {high:.3})"
            );
        }
    }
}

/// How the ratio grows: tokens and experts of rank 4, then ranks of four experts.
fn scaling() {
    let out = 3 * WIDTH;
    println!("\n| tokens | experts | rank | frozen ms | forward | frozen ms | training |");
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    let grid = [197, 1576, 6304].into_iter().flat_map(|t| [1, 4, 16].map(|e| (t, e, 4)));
    let ranks = [1, 8, 16, 64].map(|rank| (1576, 4, rank));
    for (tokens, experts, rank) in grid.chain(ranks) {
        let layer = Layer::new(tokens, out, &vec![rank; experts]);
        let mut row = format!("| {tokens} | {experts} | {rank} |");
        for work in [Work::Forward, Work::Training] {
            let Times { frozen, ratio, low, high, .. } = layer.compare(work, SECONDS);
            row += &format!(" {frozen:.2} | {ratio:.3} ({low:.3} to {high:.3}) |");
        }
        println!("{row}");
    }
}

fn print(line: &str) {
    println!("{line}");
}

fn main() {
    moa_kernels::memory::keep_freed_memory();
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--case", file, device, dtype] => case::run(file, device, dtype).unwrap(),
        _ => {
            shapes();
            scaling();
        }
    }
}
