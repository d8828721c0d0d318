//! `moa-infer merge`

use crate::exit::require_free;
use anyhow::Result;
use std::io::Write;
use std::path::PathBuf;

/// Fold an adapter into its backbone
///
/// Exact for LoRA, KAdaptation and methods that train the backbone itself; a
/// routed mixture has no single matrix and is refused.
#[derive(clap::Args)]
#[command(after_help = "Example: moa-infer merge runs/lora/best --out merged/")]
pub struct Merge {
    /// Adapter folder, or owner/name[@revision] of the Hub
    adapter: PathBuf,
    /// Folder to write, in the backbone's own layout
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where the adapter's backbone is: a folder, a name, or owner/name[@revision] of the Hub
    #[arg(long, value_name = "SPEC")]
    backbone: Option<String>,
}

impl Merge {
    pub fn run(self) -> Result<()> {
        require_free(&self.out)?;
        crate::merge::merge(&self.adapter, self.backbone.as_deref(), &self.out)?;
        writeln!(std::io::stdout(), "{}", self.out.display())?;
        Ok(())
    }
}
