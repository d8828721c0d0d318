//! `moa-train tiny`

use crate::tiny::{Pretrain, pretrain};
use anyhow::Result;
use std::path::PathBuf;

/// Pretrain the embedded `tiny` backbone anew on generated images
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train tiny --out models/tiny")]
pub struct Tiny {
    /// Folder to write, in timm's layout
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Optimiser steps
    #[arg(long, value_name = "N", default_value_t = 2400)]
    steps: u64,
    /// Images per step
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,
    /// Peak learning rate
    #[arg(long, value_name = "LR", default_value_t = 1e-3)]
    lr: f64,
    /// Seed of everything
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl Tiny {
    pub fn run(self) -> Result<()> {
        let p = Pretrain { steps: self.steps, batch: self.batch, lr: self.lr, seed: self.seed };
        pretrain(&self.out, &p, |line| eprintln!("{line}"))?;
        println!("{}", self.out.display());
        Ok(())
    }
}
