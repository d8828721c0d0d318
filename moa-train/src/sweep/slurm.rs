//! Workers as a job array of Slurm.

use anyhow::{Context, Result, ensure};
use moa_core::files::write_whole;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is asked of Slurm.
pub struct Slurm<'a> {
    /// Folder of the sweep, on a file system that all machines share.
    pub dir: &'a Path,
    /// Workers.
    pub workers: usize,
    /// Options for each of them, as `sweep run` takes them.
    pub options: &'a [String],
    /// Options of `sbatch`, one in each line of the script.
    pub sbatch: &'a [String],
}

impl Slurm<'_> {
    /// The batch script. Before its time is over (`--signal`) a worker writes a checkpoint, ends
    /// with 75, and is queued again; one whose machine fails is queued again by Slurm.
    ///
    /// # Errors
    /// If this program's own file is not known.
    pub fn script(&self) -> Result<String> {
        let program = std::env::current_exe().context("this program's own file is not known")?;
        let dir = self.dir.canonicalize().with_context(|| self.dir.display().to_string())?;
        let log = quoted(&dir.join(".sweep/slurm-%A_%a.log").display().to_string());
        let last = self.workers.saturating_sub(1);
        let own: String = self.sbatch.iter().map(|option| format!("#SBATCH {option}\n")).collect();
        let mut command = vec![program.display().to_string(), "sweep".into(), "run".into()];
        command.push(dir.display().to_string());
        command.extend(self.options.iter().cloned());
        let command = command.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(" ");
        Ok(format!(
            "#!/bin/bash\n\
             #SBATCH --job-name=moa-sweep\n\
             #SBATCH --array=0-{last}\n\
             #SBATCH --requeue\n\
             #SBATCH --open-mode=append\n\
             #SBATCH --signal=B:USR1@120\n\
             #SBATCH --output={log}\n\
             {own}\n\
             {command} --no-wait &\n\
             worker=$!\n\
             again=no\n\
             trap 'again=yes; kill -USR1 \"$worker\"' USR1\n\
             trap 'kill -TERM \"$worker\"' TERM\n\
             # A signal ends wait, with a code above 128, not the worker.\n\
             code=255\n\
             while [ \"$code\" -gt 128 ] && kill -0 \"$worker\" 2>/dev/null; do wait \"$worker\"; code=$?; done\n\
             if [ \"$code\" -gt 128 ]; then wait \"$worker\"; last=$?; [ \"$last\" -eq 127 ] || code=$last; fi\n\
             if [ \"$code\" -eq 75 ] && [ \"$again\" = yes ]; then scontrol requeue \"$SLURM_JOB_ID\"; fi\n\
             exit \"$code\"\n"
        ))
    }

    /// Writes the script and hands it to `sbatch`; returns the script's path and what `sbatch`
    /// said.
    ///
    /// # Errors
    /// If it cannot be written, or `sbatch` is not there or refuses it.
    pub fn submit(&self) -> Result<(PathBuf, String)> {
        let path = self.dir.join(".sweep/slurm.sh");
        std::fs::create_dir_all(self.dir.join(".sweep"))
            .with_context(|| path.display().to_string())?;
        write_whole(&path, self.script()?)?;
        let hint = || format!("sbatch cannot be run; the script is {}", path.display());
        let output = Command::new("sbatch").arg(&path).output().with_context(hint)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().replace('\n', "; ");
        ensure!(output.status.success(), "sbatch: {}", text(&output.stderr));
        Ok((path, text(&output.stdout)))
    }
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+./:=%,@".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_a_shell_reads() {
        let dir = tempfile::tempdir().unwrap();
        let options = ["--device".to_string(), "cuda".into()];
        let sbatch = ["--time=4:00:00".to_string(), "--gres=gpu:1".into()];
        let slurm = Slurm { dir: dir.path(), workers: 3, options: &options, sbatch: &sbatch };
        let script = slurm.script().unwrap();
        assert!(script.contains("#SBATCH --array=0-2\n"), "{script}");
        assert!(script.contains("\n#SBATCH --gres=gpu:1\n"), "{script}");
        assert!(script.contains(" --device cuda --no-wait &\nworker=$!\n"), "{script}");
        let path = dir.path().join("it's.sh");
        std::fs::write(&path, script).unwrap();
        if let Ok(status) = Command::new("bash").arg("-n").arg(&path).status() {
            assert!(status.success());
        }
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
