//! `moa-train push`

use crate::push::{Publication, Told};
use anyhow::Result;
use moa_infer::exit::note;
use moa_infer::hub::{Content, Http, HubSpec, RepoId, Settings, Target, push};
use std::io::Write;
use std::path::PathBuf;

/// Publish an adapter on the Hub, with a model card
///
/// One commit of what differs; nothing is pushed if nothing does, or if somebody else was
/// faster. Prints the address. The token is HF_TOKEN's, or that of `hf auth login`.
#[derive(clap::Args)]
#[command(
    after_help = "Example: moa-train push runs/pacs --repo me/pacs-sketch --create --license apache-2.0"
)]
pub struct Push {
    /// Folder of a run (its best adapter is pushed) or of an adapter
    path: PathBuf,
    /// Repository, owner/name
    #[arg(long, value_name = "OWNER/NAME")]
    repo: RepoId,
    /// Make the repository if there is none
    #[arg(long)]
    create: bool,
    /// Make it private
    #[arg(long, requires = "create")]
    private: bool,
    /// Propose the commit as a pull request
    #[arg(long)]
    create_pr: bool,
    /// Branch to commit to, instead of the main one
    #[arg(long, value_name = "BRANCH", value_parser = branch)]
    revision: Option<String>,
    /// Licence as the Hub spells it; known if the backbone is one of `list backbones`
    #[arg(long, value_name = "ID", value_parser = license)]
    license: Option<String>,
    /// Where on the Hub the backbone is, if the adapter was trained on a folder
    #[arg(long, value_name = "OWNER/NAME[@REVISION]")]
    base_model: Option<HubSpec>,
    /// Where on the Hub the training images are, for the card
    #[arg(long, value_name = "OWNER/NAME")]
    dataset: Option<RepoId>,
    /// First line of the commit
    #[arg(long, value_name = "TEXT", default_value = "Upload adapter with moa")]
    message: String,
    /// Print the files and the card, and ask the Hub nothing
    #[arg(long)]
    dry_run: bool,
}

impl Push {
    pub fn run(self) -> Result<()> {
        let told =
            Told { base_model: self.base_model, license: self.license, dataset: self.dataset };
        let mut out = std::io::stdout().lock();
        if self.dry_run {
            let publication = Publication::new(&self.path, self.repo, told, None)?;
            for file in publication.files()? {
                let size = match &file.content {
                    Content::Bytes(bytes) => bytes.len() as u64,
                    Content::File(path) => path.metadata()?.len(),
                };
                writeln!(out, "{size:>12} {}", file.path)?;
            }
            return Ok(write!(out, "\n{}", publication.card())?);
        }
        let settings = Settings::from_env()?;
        if settings.offline {
            anyhow::bail!(
                "HF_HUB_OFFLINE is set: nothing can be pushed (--dry-run shows what would be)"
            );
        }
        let http = Http::new(settings)?;
        let publication = Publication::new(&self.path, self.repo.clone(), told, Some(&http))?;
        let target = Target {
            repo: self.repo,
            revision: self.revision,
            create: self.create,
            private: self.private,
            pull_request: self.create_pr,
            message: self.message,
        };
        let pushed = push(&http, &target, &publication.files()?)?;
        match pushed.changed.is_empty() {
            true => note("nothing has changed since the last push; no commit was made"),
            false => {
                note(format_args!("commit {:.8}: {}", pushed.commit, pushed.changed.join(", ")))
            }
        }
        Ok(writeln!(out, "{}", pushed.url)?)
    }
}

/// The Hub's identifiers: small letters, digits, dashes and dots.
fn license(text: &str) -> Result<String, String> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    match !text.is_empty() && text.chars().all(known) {
        true => Ok(text.into()),
        false => Err("such as apache-2.0, mit, cc-by-4.0 or other".into()),
    }
}

/// What stands behind the `@` of a name.
fn branch(text: &str) -> Result<String, String> {
    let spec: HubSpec = format!("a/b@{text}").parse()?;
    Ok(spec.revision.unwrap_or_default())
}
