//! `moa-infer export`

use crate::exit::require_free;
use crate::export::peft;
use anyhow::Result;
use moa_core::peft::PeftLayout;
use std::io::Write;
use std::path::PathBuf;

/// Write an adapter for another program
///
/// PEFT holds one LoRA or one Kronecker adapter, written as LoRA with the same logits. A
/// routed mixture has no type there: docs/load_routed.py loads it in PyTorch.
#[derive(clap::Args)]
#[command(
    after_help = "Example: moa-infer export runs/lora/best --format peft --layout hf-new --out peft/"
)]
pub struct Export {
    /// Adapter folder, or owner/name[@revision] of the Hub
    adapter: PathBuf,
    /// Whose format
    #[arg(long, value_enum)]
    format: Format,
    /// Whose names the layers have: timm, transformers' CLIP, or transformers' ViT and
    /// Dinov2 since version 5.9 or before
    #[arg(long, value_enum)]
    layout: Layout,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Peft,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Layout {
    Timm,
    Clip,
    HfNew,
    HfLegacy,
}

impl Export {
    pub fn run(self) -> Result<()> {
        require_free(&self.out)?;
        let Format::Peft = self.format;
        let layout = match self.layout {
            Layout::Timm => PeftLayout::Timm,
            Layout::Clip => PeftLayout::Clip,
            Layout::HfNew => PeftLayout::HfNew,
            Layout::HfLegacy => PeftLayout::HfLegacy,
        };
        peft(&self.adapter, layout, &self.out)?;
        writeln!(std::io::stdout(), "{}", self.out.display())?;
        Ok(())
    }
}
