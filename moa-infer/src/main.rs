//! The `moa-infer` program.

fn main() -> std::process::ExitCode {
    moa_infer::cli::main()
}
