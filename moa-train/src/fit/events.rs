//! `events.jsonl`: one line a step or evaluation; and what a resumed run takes
//! back from it and from `results.jsonl`.

use super::step::Losses;
use super::waiting::Time;
use anyhow::{Context, Result};
use moa_core::files::{read, write_whole};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The log of a run.
pub struct Events {
    file: fs::File,
    path: PathBuf,
}

impl Events {
    /// Opens the file to append.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        Ok(Self { file: file.with_context(|| path.display().to_string())?, path: path.into() })
    }

    /// After a step of `images`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn step(&mut self, step: u64, losses: &Losses, images: usize, time: &Time) -> Result<()> {
        let mut line = json!({
            "kind": "step",
            "step": step,
            "loss": losses.total(),
            "ce": losses.ce,
            "balance": losses.balance,
            "grad_norm": losses.norm,
            "lr": losses.lr,
            "images_per_s": (images as f64 / time.trained * 10.0).round() / 10.0,
            "waited_s": (time.waited * 1e4).round() / 1e4,
            "usage": losses.usage,
        });
        if let Some(penalty) = losses.miro {
            line["miro"] = penalty.into();
        }
        self.line(&line)
    }

    /// Makes sure that what was written is on the disk.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().with_context(|| self.path.display().to_string())
    }

    /// Any event.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn line(&mut self, value: &Value) -> Result<()> {
        let line = format!("{value}\n");
        self.file.write_all(line.as_bytes()).with_context(|| self.path.display().to_string())
    }
}

/// Removes what a run wrote after the checkpoint that it resumes from, and an
/// unfinished last line: training steps from `steps` on, everything else (it is of
/// an evaluation) from `evaluated` on.
///
/// # Errors
/// If the file cannot be rewritten.
pub fn truncate(path: &Path, steps: u64, evaluated: u64) -> Result<()> {
    // Bytes: an unfinished line may end inside a character.
    if !path.exists() {
        return Ok(());
    }
    let text = read(path)?;
    let keeps = |line: &&[u8]| {
        let Ok(value) = serde_json::from_slice::<Value>(line) else { return false };
        let first = if value["kind"] == "step" { steps } else { evaluated };
        line.ends_with(b"\n") && value["step"].as_u64().is_some_and(|step| step < first)
    };
    let kept = text.split_inclusive(|&b| b == b'\n').filter(keeps).collect::<Vec<_>>().concat();
    if kept != text {
        write_whole(path, kept)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_keeps_what_came_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut events = Events::open(&path).unwrap();
        for step in 0..5 {
            events.line(&json!({"step": step})).unwrap();
        }
        fs::write(&path, [fs::read(&path).unwrap(), b"{\"step\":1,\"lo\xc3".to_vec()].concat())
            .unwrap();
        truncate(&path, 4, 3).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"step\":0}\n{\"step\":1}\n{\"step\":2}\n"
        );
        fs::write(&path, "{\"kind\":\"step\",\"step\":3}\n{\"kind\":\"eval\",\"step\":3}\n")
            .unwrap();
        truncate(&path, 4, 3).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"kind\":\"step\",\"step\":3}\n");
        truncate(&dir.path().join("none.jsonl"), 3, 3).unwrap();
    }
}
