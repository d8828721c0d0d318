//! The `moa-infer` program.

fn main() -> std::process::ExitCode {
    moa_kernels::memory::keep_freed_memory();
    moa_kernels::pool::as_one_of_the_pool(moa_infer::cli::main)
}
