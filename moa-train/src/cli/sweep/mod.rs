//! `moa-train sweep`, one file a command.

mod collect;
mod plan;
mod run;
mod status;

use anyhow::Result;
use clap::Subcommand;

/// Many runs: methods x datasets x environments left out x trials x hyper-parameters
#[derive(clap::Args)]
pub struct Sweep {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Plan(plan::Plan),
    Run(run::Run),
    Status(status::Status),
    Collect(collect::Collect),
}

impl Sweep {
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Plan(command) => command.run(),
            Command::Run(command) => command.run(),
            Command::Status(command) => command.run(),
            Command::Collect(command) => command.run(),
        }
    }
}
