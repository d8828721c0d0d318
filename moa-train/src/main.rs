//! The `moa-train` program.

fn main() -> std::process::ExitCode {
    moa_kernels::memory::keep_freed_memory();
    moa_train::cli::main()
}
