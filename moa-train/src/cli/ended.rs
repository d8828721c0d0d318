//! What `fit` says at its end.

use crate::fit::Time;
use anyhow::Result;
use moa_infer::exit::note;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// Prints the best validation accuracy, the step (from 0) that had it and where its
/// adapter is, and how long training waited for images; with `json` as one object.
pub fn ended(best: &Path, (accuracy, step): (f64, u64), time: Time, json: bool) -> Result<()> {
    let text = match json {
        true => {
            let tenths = |seconds: f64| (seconds * 10.0).round() / 10.0;
            let facts = json!({
                "best": best.to_string_lossy(),
                "step": step,
                "train_out": accuracy,
                "trained_s": tenths(time.trained),
                "waited_s": tenths(time.waited),
            });
            facts.to_string()
        }
        false => format!(
            "best validation accuracy {:.1} %, after step {}: {}",
            100.0 * accuracy,
            step + 1,
            best.display()
        ),
    };
    // Nothing was trained if the run had ended before.
    if !json && time.trained > 0.0 {
        note(format_args!(
            "trained for {:.1} s, {:.1} s of it ({:.1} %) waiting for images",
            time.trained,
            time.waited,
            100.0 * time.share()
        ));
    }
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}
