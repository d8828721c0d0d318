//! `results.jsonl` files: one of a run, or those of all runs of a sweep.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::record::Record;

/// The name that DomainBed's collector looks for in every run folder.
pub const RESULTS_FILE: &str = "results.jsonl";

/// Errors of reading and writing results.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A line is no record.
    #[error("{} line {line} is no DomainBed record: {reason}; mend or delete the line", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A record cannot be written as JSON.
    #[error("cannot write the record of step {step} as JSON: {source}")]
    Json {
        /// The step of the record.
        step: u64,
        /// The reason.
        source: serde_json::Error,
    },
}

/// The records of one file in its order. A last line without line end that
/// cannot be read is left out: it is that of a run killed while writing.
///
/// # Errors
/// [`ResultsError::Io`], and [`ResultsError::Line`] for any other bad line.
pub fn read_results(path: &Path) -> Result<Vec<Record>, ResultsError> {
    let bytes = fs::read(path).map_err(|source| io_error("read", path, source))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut records = Vec::new();
    for (i, line) in text.split_inclusive('\n').enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        match Record::from_line(line) {
            Ok(record) => records.push(record),
            Err(_) if !line.ends_with('\n') => {}
            Err(reason) => {
                return Err(ResultsError::Line { path: path.to_owned(), line: i + 1, reason });
            }
        }
    }
    Ok(records)
}

/// The records of all runs below `dir`, at any depth, by path; or of one run,
/// `dir/results.jsonl`.
/// Folders without that file (jobs that have not begun) are passed over.
///
/// # Errors
/// As [`read_results`]; [`ResultsError::Io`] if `dir` cannot be listed.
pub fn read_sweep(dir: &Path) -> Result<Vec<Record>, ResultsError> {
    Ok(read_runs(dir)?.into_iter().flat_map(|(_, records)| records).collect())
}

/// As [`read_sweep`], each run with its folder.
///
/// # Errors
/// As [`read_sweep`].
pub fn read_runs(dir: &Path) -> Result<Vec<(PathBuf, Vec<Record>)>, ResultsError> {
    let mut files = Vec::new();
    find(dir, &mut Vec::new(), &mut files)?;
    files.sort();
    let run = |file: PathBuf| Ok((file.parent().unwrap_or(dir).to_owned(), read_results(&file)?));
    files.into_iter().map(run).collect()
}

/// Lists results files; below the folder of a run there are no others, but for the average of
/// its weights. `above`
/// holds the real paths of the folders around, against links that lead back up.
fn find(
    dir: &Path,
    above: &mut Vec<PathBuf>,
    files: &mut Vec<PathBuf>,
) -> Result<(), ResultsError> {
    let file = dir.join(RESULTS_FILE);
    if file.is_file() {
        let averaged = dir.join(crate::swad::FOLDER).join(RESULTS_FILE);
        files.push(file);
        files.extend(averaged.is_file().then_some(averaged));
        return Ok(());
    }
    let list = |source| io_error("list", dir, source);
    let real = dir.canonicalize().map_err(list)?;
    if above.contains(&real) {
        return Ok(());
    }
    above.push(real);
    for entry in fs::read_dir(dir).map_err(list)? {
        let path = entry.map_err(list)?.path();
        if path.is_dir() {
            find(&path, above, files)?;
        }
    }
    above.pop();
    Ok(())
}

/// Appends one line to a results file, which is made if it does not exist.
///
/// # Errors
/// [`ResultsError::Io`] and [`ResultsError::Json`].
pub fn append_record(path: &Path, record: &Record) -> Result<(), ResultsError> {
    let mut line =
        record.to_line().map_err(|source| ResultsError::Json { step: record.step, source })?;
    // DomainBed cuts off the last character of every line, whatever it is
    line.push('\n');
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .map_err(|source| io_error("append to", path, source))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> ResultsError {
    ResultsError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"args": {"algorithm": "ERM", "dataset": "PACS", "hparams_seed": 0, "test_envs": [0], "trial_seed": 0}, "env0_in_acc": 0.5, "env0_out_acc": 0.5, "epoch": 1.5, "step": 7}"#;

    #[test]
    fn written_lines_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RESULTS_FILE);
        let record = Record::from_line(LINE).unwrap();
        append_record(&path, &record).unwrap();
        append_record(&path, &record).unwrap();
        assert_eq!(read_results(&path).unwrap(), [record.clone(), record.clone()]);
        // killed while writing the third
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"args\"").unwrap();
        assert_eq!(read_results(&path).unwrap().len(), 2);
    }

    #[test]
    fn a_bad_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RESULTS_FILE);
        fs::write(&path, format!("{LINE}\n\n{{}}\n{LINE}\n")).unwrap();
        let error = read_results(&path).unwrap_err().to_string();
        let told =
            "line 3 is no DomainBed record: the key `args` is missing; mend or delete the line";
        assert!(error.ends_with(told), "{error}");
    }

    #[test]
    fn a_sweep_is_read_by_folder_name() {
        let dir = tempfile::tempdir().unwrap();
        for (run, step) in [("b", 2), ("a", 1)] {
            fs::create_dir(dir.path().join(run)).unwrap();
            let line = LINE.replace("\"step\": 7", &format!("\"step\": {step}"));
            fs::write(dir.path().join(run).join(RESULTS_FILE), line + "\n").unwrap();
        }
        fs::create_dir(dir.path().join("waiting")).unwrap();
        fs::write(dir.path().join("sweep.toml"), "").unwrap();
        let steps: Vec<u64> = read_sweep(dir.path()).unwrap().iter().map(|r| r.step).collect();
        assert_eq!(steps, [1, 2]);
        let error = read_sweep(&dir.path().join("none")).unwrap_err().to_string();
        assert!(error.starts_with("cannot list "), "{error}");
    }
}
