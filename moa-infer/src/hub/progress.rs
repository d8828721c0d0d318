//! What a transfer shows on standard error: a bar on a terminal, else one line a file.

use crate::exit::note;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// Files below this are not worth a line.
const SMALL: u64 = 1 << 20;

/// The transfer of one file.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// Of a file of `size` bytes.
    pub fn new(name: &str, size: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            if size >= SMALL {
                note(format_args!("{name}: {:.1} MB", size as f64 / 1e6));
            }
            return Self(None);
        }
        let bar = ProgressBar::new(size).with_message(name.to_owned());
        let style = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// Bytes that are there.
    pub fn set(&mut self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(bytes);
        }
    }

    /// The bar stays, full.
    pub fn end(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish();
        }
    }
}
