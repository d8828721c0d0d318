//! Publishing an adapter: its files, made fit for other machines, and a model card.

mod base;
mod card;
mod measured;
mod metadata;

use anyhow::{Context, Result};
use moa_core::model::{AdapterFolder, CONFIG_FILE, TENSOR_FILE};
use moa_core::peft::PEFT_CONFIG_FILE;
use moa_infer::exit::usage;
use moa_infer::hub::{Content, Http, HubSpec, RepoId, Upload};
use std::path::{Path, PathBuf};

pub use base::Base;
pub use measured::Measured;

/// Name of a run's evaluations.
const RESULTS: &str = "results.jsonl";

/// What is said about an adapter beside what its files say.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The backbone on the Hub.
    pub base_model: Option<HubSpec>,
    /// Identifier of the licence, as the Hub spells it.
    pub license: Option<String>,
    /// The training images on the Hub.
    pub dataset: Option<RepoId>,
}

/// Everything that a card is made from.
pub struct Publication {
    /// The repository that it is for.
    pub repo: RepoId,
    /// The adapter; its backbone is named as on the Hub.
    pub adapter: AdapterFolder,
    /// What its backbone is on the Hub; none for the one inside the program.
    pub base: Option<Base>,
    /// Identifier of the licence.
    pub license: String,
    /// The training images on the Hub.
    pub dataset: Option<RepoId>,
    /// Accuracies at the step of the adapter, if the run is there.
    pub measured: Option<Measured>,
    /// Python's PEFT loads it.
    pub is_peft: bool,
    folder: PathBuf,
}

impl Publication {
    /// From the folder of a run or of an adapter. `http` looks at the backbone on the Hub.
    ///
    /// # Errors
    /// If something is missing, or not known and not told.
    pub fn new(path: &Path, repo: RepoId, told: Told, http: Option<&Http>) -> Result<Self> {
        let folder = match path.join("best").join(CONFIG_FILE).is_file() {
            true => path.join("best"),
            false => path.to_owned(),
        };
        let mut adapter = AdapterFolder::read(&folder)
            .with_context(|| format!("{}: cannot be pushed", path.display()))?;
        let base = Base::find(&adapter.card, told.base_model, http)?;
        if let Some(base) = &base {
            adapter.card.backbone.spec = base.spec.to_string();
        }
        let license = told.license.or_else(|| base.as_ref()?.license.clone());
        let license = license.ok_or_else(|| {
            usage("--license: say which, as the Hub spells it (apache-2.0, mit, cc-by-4.0, other ...)")
        })?;
        let run = folder.parent().map(|run| run.join(RESULTS)).filter(|file| file.is_file());
        let measured = run.map(|file| Measured::read(&file, &adapter.card.training)).transpose()?;
        let is_peft = folder.join(PEFT_CONFIG_FILE).is_file()
            && adapter.card.backbone.layout == moa_core::backbone::Layout::Timm;
        let measured = measured.flatten();
        let dataset = told.dataset;
        Ok(Self { repo, adapter, base, license, dataset, measured, is_peft, folder })
    }

    /// The files to push.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn files(&self) -> Result<Vec<Upload>> {
        let text = |path: &str, text: String| Upload {
            path: path.into(),
            content: Content::Bytes(text.into_bytes()),
        };
        let card = serde_json::to_string_pretty(&self.adapter.card)? + "\n";
        let mut files = vec![
            text(CONFIG_FILE, card),
            Upload {
                path: TENSOR_FILE.into(),
                content: Content::File(self.folder.join(TENSOR_FILE)),
            },
            text("README.md", self.card()),
        ];
        let peft = self.folder.join(PEFT_CONFIG_FILE);
        if peft.is_file() {
            files.push(text(PEFT_CONFIG_FILE, self.peft_config(&peft)?));
        }
        Ok(files)
    }

    /// PEFT's description, with the base model as on the Hub.
    fn peft_config(&self, path: &Path) -> Result<String> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(shown)?;
        let mut config: serde_json::Value = serde_json::from_str(&text).with_context(shown)?;
        if let Some(base) = &self.base {
            config["base_model_name_or_path"] = base.spec.repo.to_string().into();
            config["revision"] = base.spec.revision.clone().into();
        }
        Ok(serde_json::to_string_pretty(&config)? + "\n")
    }
}
