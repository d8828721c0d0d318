//! `moa-train tiny`

use crate::tiny::{Pretrain, pretrain};
use anyhow::Result;
use clap::value_parser;
use moa_infer::exit::{note, require_free, usage};
use std::io::Write;
use std::path::PathBuf;

/// Pretrain the embedded `tiny` backbone anew on generated images
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train tiny --out models/tiny")]
pub struct Tiny {
    /// Folder to write, in timm's layout
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Optimiser steps
    #[arg(long, value_name = "N", default_value_t = 2400, value_parser = value_parser!(u64).range(1..))]
    steps: u64,
    /// Images per step
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Peak learning rate
    #[arg(long, value_name = "LR", default_value_t = 1e-3)]
    lr: f64,
    /// Seed of everything
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl Tiny {
    pub fn run(self) -> Result<()> {
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return Err(usage("--lr must be a number above 0"));
        }
        require_free(&self.out)?;
        let p = Pretrain {
            steps: self.steps,
            batch: self.batch as usize,
            lr: self.lr,
            seed: self.seed,
        };
        pretrain(&self.out, &p, |line| note(line))?;
        writeln!(std::io::stdout(), "{}", self.out.display())?;
        Ok(())
    }
}
