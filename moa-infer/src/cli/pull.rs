//! `moa-infer pull`

use crate::spec::{needed_by, pull_named};
use anyhow::Result;
use std::io::Write;
use std::path::PathBuf;

/// Fetch adapters and backbones from the Hub, for use without network
///
/// Prints the folder and the commit of each. A backbone that an adapter needs is fetched
/// with it.
#[derive(clap::Args)]
#[command(after_help = "Example: moa-infer pull vit-b-16-augreg2 owner/adapter@main
HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE count as in Python.")]
pub struct Pull {
    /// owner/name, owner/name@revision, or a name of `moa-train list backbones`
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<String>,
}

impl Pull {
    pub fn run(self) -> Result<()> {
        for spec in &self.specs {
            let adapter = one(spec)?;
            if let Some(backbone) = needed_by(&adapter) {
                one(&backbone)?;
            }
        }
        Ok(())
    }
}

fn one(spec: &str) -> Result<PathBuf> {
    let pulled = pull_named(spec)?;
    writeln!(std::io::stdout(), "{}\t{}", pulled.pinned, pulled.folder.display())?;
    Ok(pulled.folder)
}
