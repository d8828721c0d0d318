//! Exit codes of both programs: 0 done, 1 failed, 2 usage or configuration,
//! 75 interrupted and resumable.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// The run failed.
pub const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub const USAGE: u8 = 2;
/// Interrupted; the same command with `--resume` goes on.
pub const INTERRUPTED: u8 = 75;

/// An error that ends the program with a certain code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Exit {
    /// The code.
    pub code: u8,
    /// One line; empty for none.
    pub message: String,
}

/// An error of usage or configuration.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Exit { code: USAGE, message: message.into() }.into()
}

/// Refuses to write over something; an empty folder is nothing.
///
/// # Errors
/// If `path` is a file or a folder that holds something.
pub fn require_free(path: &Path) -> anyhow::Result<()> {
    if path.file_name().is_none() {
        return Err(usage(format!("{}: name a folder that can be made", path.display())));
    }
    let empty = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    match path.exists() && !empty {
        true => Err(usage(format!("{} exists; choose another --out", path.display()))),
        false => Ok(()),
    }
}

/// Ends a command that went over `total` images.
///
/// # Errors
/// If some of them could not be read.
pub fn all_read(failed: usize, total: usize) -> anyhow::Result<()> {
    anyhow::ensure!(failed == 0, "{failed} of {total} images could not be read");
    Ok(())
}

/// Prints a line on stderr. Unlike `eprintln!` it does not panic when nobody reads
/// it any more: a run must not die with the terminal that it reports to.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints an error as one line on stderr and turns a result into an exit code.
pub fn report(program: &str, result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if is_broken_pipe(&error) {
        return ExitCode::SUCCESS; // the reader, `head` say, has seen enough
    }
    let text = line(&error);
    if !text.is_empty() {
        note(format_args!("{program}: {text}"));
    }
    ExitCode::from(code(&error))
}

/// The exit code of an error.
pub fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(|e| e.downcast_ref::<Exit>()).map_or(FAILED, |e| e.code)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The chain of causes in one line, without what a cause repeats.
pub fn line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        // candle appends a backtrace; a user needs the first line.
        let text = cause.to_string();
        let text = text.lines().next().unwrap_or_default().trim();
        if text.is_empty() || line.contains(text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(text);
    }
    line
}
