//! The `moa-infer` program, one file a command.

mod eval;
mod export;
mod features;
mod inspect;
mod merge;
mod predict;
mod pull;
mod routes;
mod selfcheck;

use crate::evaluate::{BATCH, MAX_BATCH};
use crate::exit::{note, usage};
use crate::prefetch::MAX_WORKERS;
use anyhow::Result;
use candle_core::Device;
use clap::{Args, Parser, Subcommand};
use moa_core::clip::TEMPLATE;
use moa_core::device::DeviceSpec;
use std::process::ExitCode;

/// Predict, evaluate, extract features, merge, export, inspect and pull mixture-of-adapters
/// classifiers.
#[derive(Parser)]
#[command(name = "moa-infer", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Printed below the help of both programs.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage or configuration, 75 \
                              interrupted and resumable, 130 ended by a second Ctrl-C.";

#[derive(Subcommand)]
enum Command {
    Predict(predict::Predict),
    Eval(eval::Eval),
    Features(features::Features),
    Merge(merge::Merge),
    Export(export::Export),
    Inspect(inspect::Inspect),
    Pull(pull::Pull),
    Routes(routes::Routes),
    Selfcheck(selfcheck::Selfcheck),
}

/// Options of every command that runs a model.
#[derive(Args, Clone)]
struct Model {
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
    /// Where the adapter's backbone is: a folder, a name, or owner/name[@revision] of the Hub
    #[arg(long, value_name = "SPEC")]
    backbone: Option<String>,
    /// Images per forward pass
    #[arg(long, value_name = "N", default_value_t = BATCH, value_parser = batch_size)]
    batch_size: usize,
    /// Threads that read images; 0 for one per core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = worker_threads)]
    workers: usize,
}

/// How names of classes become texts.
#[derive(Args, Clone)]
struct Prompts {
    /// Text around a class name, `{}`; repeat for the mean of several
    #[arg(long, value_name = "TEXT", default_value = TEMPLATE)]
    template: Vec<String>,
    /// CLIP's tokenizer.json or bpe_simple_vocab_16e6.txt.gz, if it is not in the
    /// backbone's folder
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<std::path::PathBuf>,
}

impl Prompts {
    fn apply(&self, predictor: &mut crate::predictor::Predictor, names: &[String]) -> Result<()> {
        let names: Vec<String> = names.iter().map(|name| name.trim().to_string()).collect();
        if names.iter().any(String::is_empty) {
            return Err(usage("--zero-shot: a class has no name"));
        }
        if let Some(bad) = self.template.iter().find(|template| !template.contains("{}")) {
            return Err(usage(format!("--template `{bad}` has no {{}} for the name of a class")));
        }
        predictor.classify_by_names(&names, &self.template, self.tokenizer.as_deref())
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("must be a number above 0".into()),
    }
}

fn batch_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=MAX_BATCH).contains(&n) => Ok(n),
        _ => Err(format!("must be a number from 1 to {MAX_BATCH}")),
    }
}

fn worker_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n <= MAX_WORKERS => Ok(n),
        _ => Err(format!("must be a number from 0 to {MAX_WORKERS}")),
    }
}

impl Model {
    /// Opens the device and says which one it is.
    fn device(&self) -> Result<Device> {
        let device = self.device.open()?;
        note(format_args!("device: {}", moa_core::device::name(&device)));
        Ok(device)
    }

    fn open(&self, path: &std::path::Path) -> Result<crate::predictor::Predictor> {
        let device = self.device()?;
        crate::predictor::Predictor::open(path, self.backbone.as_deref(), &device)
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { crate::exit::USAGE } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Predict(command) => command.run(),
        Command::Eval(command) => command.run(),
        Command::Features(command) => command.run(),
        Command::Merge(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Pull(command) => command.run(),
        Command::Routes(command) => command.run(),
        Command::Selfcheck(command) => command.run(),
    };
    crate::exit::report("moa-infer", result)
}
