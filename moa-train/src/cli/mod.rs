//! The `moa-train` program, one file a command.

mod analyse;
mod check_data;
mod ended;
mod fit;
mod list;
mod push;
mod report;
mod sweep;
mod tiny;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Stack of the thread that trains: candle walks graphs and drops tensors
/// recursively.
const STACK: usize = 256 << 20;

/// Fine-tune mixtures of adapters on frozen vision transformers, under the
/// DomainBed protocol.
#[derive(Parser)]
#[command(name = "moa-train", version, after_help = moa_infer::cli::EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Analyse(analyse::Analyse),
    CheckData(check_data::CheckData),
    Fit(Box<fit::Fit>),
    List(list::List),
    Push(push::Push),
    Report(report::Report),
    Sweep(sweep::Sweep),
    Tiny(tiny::Tiny),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { moa_infer::exit::USAGE } else { 0 });
        }
    };
    let result = on_big_stack(move || match cli.command {
        Command::Analyse(command) => command.run(),
        Command::CheckData(command) => command.run(),
        Command::Fit(command) => command.run(),
        Command::List(command) => command.run(),
        Command::Push(command) => command.run(),
        Command::Report(command) => command.run(),
        Command::Sweep(command) => command.run(),
        Command::Tiny(command) => command.run(),
    });
    moa_infer::exit::report("moa-train", result)
}

/// Runs `f` on a thread with room for deep recursion that computes with others, in a process that
/// keeps freed memory for the next tensor.
///
/// # Errors
/// What `f` returns, or that the thread cannot be started.
pub fn on_big_stack<T: Send + 'static>(
    f: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    moa_kernels::memory::keep_freed_memory();
    let f = || moa_kernels::pool::as_one_of_the_pool(f);
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(f)?;
    thread
        .join()
        .unwrap_or_else(|_| Err(anyhow::anyhow!("this is a fault of moa-train; please report it")))
}
