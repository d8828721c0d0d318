//! The `moa-train` program.

fn main() -> std::process::ExitCode {
    moa_train::cli::main()
}
