//! `moa-train list`

use anyhow::Result;
use moa_core::backbone::{VitConfig, registry};
use moa_core::method::{names, preset};
use moa_infer::dataset::registry::NAMED;
use moa_infer::spec::{TINY, open_backbone};
use serde_json::json;
use std::io::Write;

/// List methods, backbones or datasets
#[derive(clap::Args)]
#[command(after_help = "Example: moa-train list methods --backbone openclip-vit-b-16-laion2b")]
pub struct List {
    /// What to list
    #[arg(value_enum)]
    what: What,
    /// Methods: the backbone to count parameters for, named as for `fit`
    #[arg(long, value_name = "SPEC", default_value = "openclip-vit-b-16-laion2b")]
    backbone: String,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    Methods,
    Backbones,
    Datasets,
}

impl List {
    pub fn run(self) -> Result<()> {
        match self.what {
            What::Methods => self.methods(),
            What::Backbones => self.backbones(),
            What::Datasets => self.datasets(),
        }
    }

    fn methods(&self) -> Result<()> {
        let config = architecture(&self.backbone)?;
        let mut out = std::io::stdout().lock();
        if !self.json {
            writeln!(out, "trainable parameters on {}, head not counted", self.backbone)?;
        }
        for name in names() {
            let method = preset(name)?;
            let count = method.check(&config).map(|()| method.parameters(&config));
            match (self.json, count) {
                (true, Ok(n)) => writeln!(out, "{}", json!({"method": name, "parameters": n})),
                (true, Err(e)) => {
                    writeln!(out, "{}", json!({"method": name, "error": e.to_string()}))
                }
                (false, Ok(n)) => writeln!(out, "{name:24} {n:>12}"),
                (false, Err(e)) => writeln!(out, "{name:24} not possible: {e}"),
            }?;
        }
        Ok(())
    }

    fn backbones(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let row = json!({"backbone": TINY, "repo": null, "licence": "MIT"});
        match self.json {
            true => writeln!(out, "{row}"),
            false => writeln!(out, "{TINY:32} inside this program  (MIT)"),
        }?;
        for name in registry::names() {
            let known = registry::find(name)?;
            let row = json!({"backbone": name, "repo": known.repo, "licence": known.licence});
            match self.json {
                true => writeln!(out, "{row}"),
                false => writeln!(out, "{name:32} {}  ({})", known.repo, known.licence),
            }?;
        }
        Ok(())
    }

    fn datasets(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        for set in &NAMED {
            let envs: Vec<_> = set.environments.iter().map(|e| e.name).collect();
            match self.json {
                true => writeln!(out, "{}", json!({"dataset": set.name, "envs": envs})),
                false => writeln!(out, "{:16} {}", set.name, envs.join(", ")),
            }?;
        }
        match self.json {
            true => writeln!(out, "{}", json!({"dataset": "folder", "envs": null})),
            false => writeln!(out, "{:16} any <environment>/<class>/<image>", "folder"),
        }?;
        Ok(())
    }
}

/// The architecture of a named backbone (its files are not needed) or of a folder.
fn architecture(spec: &str) -> Result<VitConfig> {
    match registry::find(spec) {
        Ok(known) if spec != TINY => Ok(known.vit.clone()),
        _ => Ok(open_backbone(spec)?.config),
    }
}
