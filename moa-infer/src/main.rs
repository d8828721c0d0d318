//! The `moa-infer` program.

fn main() -> std::process::ExitCode {
    moa_kernels::memory::keep_freed_memory();
    moa_infer::cli::main()
}
